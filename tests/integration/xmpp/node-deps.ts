// SPDX-License-Identifier: MIT
// What the session needs of the outside, by Node: TLS, hashes, timers.

import {createHash, createHmac, pbkdf2, randomBytes} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {connect} from 'node:tls';
import type {ByteStream, ByteStreamHandlers, HashName, StreamTarget, XmppDeps} from '../../../src/xmpp/types.ts';

const ALGORITHM: Record<HashName, string> = {'SHA-1': 'sha1', 'SHA-256': 'sha256'};

/** Deps by Node; `log` gets every line. */
export function nodeDeps(log: (line: string) => void): XmppDeps {
  return {
    openStream,
    lookupSrv: () => Promise.resolve([]),
    hash: (name, data) => createHash(ALGORITHM[name]).update(data).digest(),
    hmac: (name, key, data) => createHmac(ALGORITHM[name], key).update(data).digest(),
    pbkdf2: (name, password, salt, rounds) =>
      new Promise((resolve, reject) => {
        const length = name === 'SHA-1' ? 20 : 32;
        pbkdf2(password, salt, rounds, length, ALGORITHM[name], (error, key) => (error ? reject(error) : resolve(key)));
      }),
    randomBytes: (length) => new Uint8Array(randomBytes(length)),
    nowMs: () => performance.now(),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return () => clearTimeout(timer);
    },
    log: (level, text) => log(`${level} ${text}`),
  };
}

function openStream(target: StreamTarget, handlers: ByteStreamHandlers): ByteStream {
  const {host, port, name, caFile, timeoutMs} = target;
  const ca = caFile === undefined ? undefined : readFileSync(caFile);
  const socket = connect({host, port, servername: name, ALPNProtocols: ['xmpp-client'], ...(ca ? {ca} : {})});
  let closed = false;
  const close = (code: string, text: string): void => {
    if (closed) return;
    closed = true;
    socket.destroy();
    handlers.onClosed(code, text);
  };
  socket.setTimeout(timeoutMs, () => close('timeout', `${host}:${port} did not answer in time`));
  socket.on('secureConnect', () => {
    socket.setTimeout(0);
    const exporter = '';
    handlers.onOpen({
      address: `${socket.remoteAddress}:${socket.remotePort}`,
      tls: `${socket.getProtocol()}`,
      exporter,
    });
  });
  socket.on('data', (data) => handlers.onData(new Uint8Array(data)));
  socket.on('end', () => close('eof', 'the server closed the connection'));
  socket.on('close', () => close('eof', 'the connection was closed'));
  socket.on('error', (error: Error & {code?: string}) =>
    close(error.code === 'ECONNREFUSED' ? 'refused' : 'io', error.message),
  );
  return {
    write: (data) => {
      if (!closed) socket.write(data);
    },
    close: () => {
      closed = true;
      socket.end(() => socket.destroySoon());
    },
  };
}
