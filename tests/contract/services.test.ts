// SPDX-License-Identifier: MIT
// The rest of the C ABI as the typed calls see it: hashes, key, files, control socket.

import {createSocket} from 'node:dgram';
import {mkdtempSync, rmSync, statSync} from 'node:fs';
import {connect} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {hex, utf8} from '../../src/base/bytes.ts';
import {RecordReader} from '../../src/native/codec.ts';
import {NativeError, type NativeEvent} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {koffiHost, nativeMissing} from './host-koffi.ts';

const missing = nativeMissing();
const ENOENT = 2;

if (missing) {
  test.skip(`services of the real library: not tested, for ${missing}`, (t) => t.fail());
} else {
  const host = koffiHost();
  const native = new Native(host.native);
  const folder = mkdtempSync(join(tmpdir(), 'ipop-contract-'));
  let waiting: ((event: NativeEvent) => void)[] = [];

  /** The next event that `pick` takes, within 10 s. */
  const next = <T>(pick: (event: NativeEvent) => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no such event within 10 s')), 10_000);
      waiting.push((event) => {
        const picked = pick(event);
        if (picked === undefined) return;
        clearTimeout(timer);
        resolve(picked);
      });
    });

  test.before(() => {
    native.start();
    const reader = new RecordReader();
    host.onRecord((record) => {
      for (const event of reader.read(record)) waiting.forEach((take) => take(event));
    });
  });

  test.after.always(() => {
    native.stop();
    host.close();
    waiting = [];
    rmSync(folder, {recursive: true, force: true});
  });

  test.serial('hashes are those of their test vectors (FIPS 180, RFC 4231)', (t) => {
    t.is(hex(native.hash('sha1', utf8('abc'))), 'a9993e364706816aba3e25717850c26c9cd0d89d');
    t.is(hex(native.hash('sha256', utf8('abc'))), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    t.is(
      hex(native.hash('sha256', new Uint8Array())),
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    t.is(
      hex(native.hmac('sha256', utf8('Jefe'), utf8('what do ya want for nothing?'))),
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    );
  });

  test.serial('a derived key comes as an event of its request (RFC 6070)', async (t) => {
    const request = native.pbkdf2('sha1', utf8('password'), utf8('salt'), 4096);
    const key = await next((event) => (event.type === 'pbkdf2' && event.request === request ? event.key : undefined));
    t.is(hex(key), '4b007901b765489abead49d926f721d065a429c1');
  });

  test.serial('random bytes differ', (t) => {
    const [one, other] = [native.random(32), native.random(32)];
    t.is(one.length, 32);
    t.notDeepEqual(one, other);
  });

  test.serial('a key is made once, 0600, and signs what its public half verifies', (t) => {
    const path = join(folder, 'state', 'identity.key');
    const publicKey = native.openIdentity(path);
    t.is(statSync(path).mode & 0o777, 0o600);
    t.deepEqual(native.openIdentity(path), publicKey);
    const signature = native.sign(utf8('text'));
    t.true(native.verify(publicKey, utf8('text'), signature));
    t.false(native.verify(publicKey, utf8('other'), signature));
  });

  test.serial('files are written whole and read back; a missing one is told by name', (t) => {
    const path = join(folder, 'file');
    native.writeFile(path, utf8('one'));
    native.writeFile(path, utf8('other'));
    t.deepEqual(native.readFile(path), utf8('other'));
    const error = t.throws(() => native.readFile(join(folder, 'nothing')), {instanceOf: NativeError});
    t.is(error?.errno, ENOENT);
    t.regex(error?.message ?? '', /nothing/);
  });

  test.serial('a control request is answered on its connection', async (t) => {
    const path = join(folder, 'control.sock');
    native.listenControl(path);
    const request = next((event) => (event.type === 'ctl-request' ? event : undefined));
    const client = connect(path);
    const answer = new Promise<string>((resolve, reject) => {
      let text = '';
      client.on('data', (data) => (text += data.toString()));
      client.on('end', () => resolve(text));
      client.on('error', reject);
    });
    client.write('{"command":"status"}\n');
    const {connection, request: line} = await request;
    t.is(line, '{"command":"status"}');
    native.replyControl(connection, 'fine, grüße\n');
    t.is(await answer, 'fine, grüße\n');
  });

  test.serial('a stream that cannot connect is closed with its reason', async (t) => {
    const stream = native.openStream(utf8('host=127.0.0.1\nport=1\nname=localhost\n'));
    const closed = await next((event) =>
      event.type === 'stream-closed' && event.stream === stream ? event : undefined,
    );
    t.is(closed.code, 'refused');
    t.true(closed.text.length > 0);
  });

  test.serial(
    'SRV records come as an event of their request, and so does it when no name server answers',
    async (t) => {
      const dns = createSocket('udp4');
      t.teardown(() => dns.close());
      dns.on('message', (query, from) => {
        const reply = Buffer.concat([
          query,
          Buffer.from('c00c0021000100000000000c0005000a14660468' + '6f737400', 'hex'),
        ]);
        reply.writeUInt16BE(0x8180, 2);
        reply.writeUInt16BE(1, 6);
        dns.send(reply, from.port, from.address);
      });
      await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
      const look = (server: string): Promise<NativeEvent & {type: 'srv'}> => {
        const request = native.lookupSrv(
          utf8(`name=_xmpps-client._tcp.example.org\ntimeout_ms=2000\nserver=${server}\n`),
        );
        return next((event) => (event.type === 'srv' && event.request === request ? event : undefined));
      };
      const found = await look(`127.0.0.1:${dns.address().port}`);
      t.like(found, {records: [{priority: 5, weight: 10, port: 5222, target: 'host'}], error: undefined});
      const failed = await look('127.0.0.1:1');
      t.deepEqual(failed.records, []);
      t.like(failed.error, {code: 'dns'});
      t.regex(failed.error?.text ?? '', /127\.0\.0\.1:1: Connection refused/);
    },
  );

  test.serial('the process tells its counters and its host', (t) => {
    const {recordsQueued, recordsDropped, threads} = native.processCounters();
    t.true(recordsQueued > 0);
    t.is(recordsDropped, 0);
    t.true(threads > 0);
    t.true(native.hostName().length > 0);
  });

  test.serial('an address that is ours by no tap is no overlay', (t) => {
    t.false(native.addressOverlay('127.0.0.1'));
  });

  test.serial('starting twice is refused', (t) => {
    t.throws(() => native.start(), {instanceOf: NativeError});
  });
}
