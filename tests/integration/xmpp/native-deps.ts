// SPDX-License-Identifier: MIT
// What the session needs of the outside, by the real native library: its TLS, STARTTLS and pins are those that routers run.

import {RecordReader} from '../../../src/native/codec.ts';
import {Native} from '../../../src/native/native.ts';
import {Services} from '../../../src/native/services.ts';
import type {XmppDeps} from '../../../src/xmpp/types.ts';
import {koffiHost} from '../../contract/host-koffi.ts';
import {nodeDeps} from './node-deps.ts';

export interface NativeStreams {
  /** Deps whose streams are native's (16 at once); `log` gets every line. */
  deps(log: (line: string) => void): XmppDeps;
  close(): void;
}

/** Starts the library; once a process. */
export function nativeStreams(): NativeStreams {
  const host = koffiHost();
  const native = new Native(host.native);
  native.start();
  const services = new Services({
    openStream: (config) => native.openStream(config),
    writeStream: (stream, data) => native.writeStream(stream, data),
    closeStream: (stream) => native.closeStream(stream),
    lookupSrv: (config) => native.lookupSrv(config),
    pbkdf2: (name, password, salt, rounds) =>
      native.pbkdf2(name === 'SHA-1' ? 'sha1' : 'sha256', password, salt, rounds),
  });
  const reader = new RecordReader();
  host.onRecord((record) => {
    for (const event of reader.read(record)) services.handleEvent(event);
  });
  return {
    deps: (log) => ({
      ...nodeDeps(log),
      openStream: (target, handlers) => services.openStream(target, handlers),
      lookupSrv: (name, timeoutMs) => services.lookupSrv(name, timeoutMs),
      pbkdf2: (name, password, salt, rounds) => services.pbkdf2(name, password, salt, rounds),
    }),
    close: () => {
      native.stop();
      host.close();
    },
  };
}
