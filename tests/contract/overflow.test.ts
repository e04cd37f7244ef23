// SPDX-License-Identifier: MIT
// A runtime that stalls while a server goes on talking: the record queue fills, drops and counts, and all is well once it reads again.

import {execFileSync} from 'node:child_process';
import {X509Certificate} from 'node:crypto';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createServer} from 'node:tls';
import test from 'ava';
import {RecordReader} from '../../src/native/codec.ts';
import type {NativeEvent} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {Services} from '../../src/native/services.ts';
import type {StreamTarget} from '../../src/xmpp/types.ts';
import {koffiHost, nativeMissing} from './host-koffi.ts';

const missing = nativeMissing();
const WITHIN_MS = 15_000;
/** The queue holds 4 MiB. */
const TALK_BYTES = 8 << 20;

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + WITHIN_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A TLS server that sends so many bytes to whoever comes; what it is known by. */
function talker(folder: string, bytes: () => number): Promise<{target: StreamTarget; close(): void}> {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=talker', '-addext', 'subjectAltName=DNS:talker'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert], {stdio: 'pipe'});
  const server = createServer({key: readFileSync(key), cert: readFileSync(cert)}, (socket) => {
    socket.on('error', () => {});
    socket.write(Buffer.alloc(bytes(), 'x'));
  });
  const pin = new X509Certificate(readFileSync(cert)).fingerprint256.replaceAll(':', '').toLowerCase();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const {port} = server.address() as AddressInfo;
      const target = {host: '127.0.0.1', port, name: 'talker', tls: 'direct', caFile: undefined, pin, timeoutMs: 5_000};
      resolve({target: target as StreamTarget, close: () => server.close()});
    });
  });
}

if (missing) {
  test.skip(`a full record queue: not tested, for ${missing}`, (t) => t.fail());
} else {
  test('a runtime that stalls loses records with a count, is told, and goes on with a new stream', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ipop-overflow-'));
    const host = koffiHost();
    const native = new Native(host.native);
    native.start();
    let bytes = TALK_BYTES;
    const server = await talker(folder, () => bytes);
    t.teardown(() => {
      native.stop();
      host.close();
      server.close();
      rmSync(folder, {recursive: true, force: true});
    });
    const services = new Services({
      openStream: (config) => native.openStream(config),
      writeStream: (stream, data) => native.writeStream(stream, data),
      closeStream: (stream) => native.closeStream(stream),
      lookupSrv: (config) => native.lookupSrv(config),
      pbkdf2: () => 0,
    });
    const open = () => {
      const seen = {bytes: 0, closed: ''};
      services.openStream(server.target, {
        onOpen: () => {},
        onData: (data) => void (seen.bytes += data.length),
        onClosed: (code) => void (seen.closed = code),
      });
      return seen;
    };
    const first = open();
    // Nobody reads: the host polls only once somebody wants records.
    await until('the queue to be full', () => native.processCounters().recordsDropped > 0);

    const reader = new RecordReader();
    const gaps: NativeEvent[] = [];
    host.onRecord((record) => {
      for (const event of reader.read(record)) {
        if (event.type === 'gap') {
          gaps.push(event);
          services.handleGap();
        } else services.handleEvent(event);
      }
    });
    await until('the end of the stream with a hole', () => first.closed !== '');
    t.is(first.closed, 'overflow');
    t.true(first.bytes > 3 << 20 && first.bytes < TALK_BYTES, `${first.bytes} bytes before the hole`);
    await until('word of the loss', () => gaps.length > 0);
    const dropped = native.processCounters().recordsDropped;

    bytes = 1 << 20;
    const second = open();
    await until('all that the new stream carries', () => second.bytes === bytes);
    t.is(second.closed, '');
    t.is(native.processCounters().recordsDropped, dropped, 'no more is lost');
    t.is(reader.malformed + reader.ignored, 0);
  });
}
