// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {concat, utf8} from '../../../src/base/bytes.ts';
import {
  decodeLinkInfo,
  decodePortCounters,
  decodeRecord,
  decodeRules,
  decodeU64s,
  RecordReader,
  splitRecords,
} from '../../../src/native/codec.ts';
import {DROP_NAMES, NativeError} from '../../../src/native/datapath.ts';
import {bytes, plain} from '../../contract/frames.ts';

function le(value: number, size: number): Uint8Array {
  return Uint8Array.from({length: size}, (_, i) => Math.floor((value < 0 ? value + 2 ** 32 : value) / 256 ** i) % 256);
}

function record(type: number, handle: number, payload: Uint8Array = new Uint8Array(), sequence = 0): Uint8Array {
  return concat(le(type, 2), le(0, 2), le(payload.length, 4), le(sequence, 4), le(handle, 4), payload);
}

const event = (type: number, handle: number, payload?: Uint8Array): unknown =>
  decodeRecord(record(type, handle, payload)).event;

test('an upcall gives its port, VLAN, miss and the head of its frame', (t) => {
  const head = plain('02000000000b', '02000000000a');
  const payload = concat(le(77, 4), le(5, 4), le(10, 2), le(1500, 2), Uint8Array.of(3, 0), le(head.length, 2), head);
  t.deepEqual(event(1, 4, payload), {
    type: 'upcall',
    sw: 4,
    upcall: {id: 77, port: 5, vlan: 10, miss: 'destination', frameLength: 1500, head},
  });
});

test('the answer of DNS gives its records, and passes over what is none', (t) => {
  const text = 'record=5 10 5222 a.example.org\nrecord=0 0 0 .\nrecord=1 2 0 b\nrecord=1 2 x b\nrecord=1 2 3\n';
  const records = [
    {priority: 5, weight: 10, port: 5222, target: 'a.example.org'},
    {priority: 0, weight: 0, port: 0, target: '.'},
  ];
  t.deepEqual(event(15, 7, utf8(text)), {type: 'srv', request: 7, records, error: undefined});
  t.deepEqual(event(15, 7), {type: 'srv', request: 7, records: [], error: undefined});
  const error = {code: 'dns', text: 'no answer'};
  t.deepEqual(event(15, 7, utf8('code=dns\ntext=no answer\n')), {type: 'srv', request: 7, records: [], error});
});

test('every other record gives its event', (t) => {
  const map = utf8('code=silent\ntext=nothing heard\n');
  t.deepEqual(event(16, 5, map), {type: 'link-moved', link: 5, code: 'silent', text: 'nothing heard'});
  t.deepEqual(event(2, 5, utf8('deleted')), {type: 'port-gone', port: 5, text: 'deleted'});
  t.deepEqual(event(3, 5, utf8('ufrag=u\npwd=p\nfingerprint=AA:BB\nsetup=actpass\n')), {
    type: 'link-local',
    link: 5,
    local: {ufrag: 'u', pwd: 'p', fingerprint: 'AA:BB', setup: 'actpass'},
  });
  t.deepEqual(event(4, 5, utf8('candidate:1 1 UDP')), {
    type: 'link-candidate',
    link: 5,
    candidate: 'candidate:1 1 UDP',
  });
  t.deepEqual(event(5, 5), {type: 'link-gathered', link: 5});
  t.like(event(6, 5, utf8('local=192.0.2.1:5\nlocal_type=host\nrtp_sent=7\n')), {
    type: 'link-up',
    link: 5,
    info: {local: '192.0.2.1:5', localType: 'host', rtpSent: 7, remote: '', silentMs: 0},
  });
  t.deepEqual(event(7, 5, map), {type: 'link-lost', link: 5, code: 'silent', text: 'nothing heard'});
  t.deepEqual(event(8, 5, bytes('0102')), {type: 'link-message', link: 5, message: bytes('0102')});
  t.like(event(9, 6, utf8('address=192.0.2.1\n')), {type: 'stream-open', stream: 6, info: {address: '192.0.2.1'}});
  t.deepEqual(event(10, 6, bytes('00ff')), {type: 'stream-data', stream: 6, data: bytes('00ff')});
  t.deepEqual(event(11, 6, map), {type: 'stream-closed', stream: 6, code: 'silent', text: 'nothing heard'});
  t.deepEqual(event(12, 8, utf8('status')), {type: 'ctl-request', connection: 8, request: 'status'});
  t.deepEqual(event(13, 9, bytes('aa')), {type: 'pbkdf2', request: 9, key: bytes('aa')});
  t.deepEqual(event(14, 0), {type: 'interfaces'});
});

test('a record of an unknown type is passed over', (t) => {
  t.deepEqual(decodeRecord(record(99, 1, bytes('00'), 3)), {sequence: 3, event: undefined});
});

test('a record that is cut short, or contradicts itself, is an error with a sentence', (t) => {
  const upcall = concat(new Uint8Array(12), Uint8Array.of(1, 0), le(10, 2), new Uint8Array(9));
  for (const bad of [
    new Uint8Array(15),
    record(5, 1).subarray(0, 15),
    concat(record(5, 1), bytes('00')),
    record(1, 1, new Uint8Array(15)),
    record(1, 1, upcall),
    record(1, 1, concat(new Uint8Array(12), Uint8Array.of(9, 0), le(0, 2))),
    record(3, 1, utf8('ufrag=u\n')),
    record(3, 1, utf8('ufrag=u\npwd=p\nfingerprint=f\nsetup=x\n')),
  ]) {
    const error = t.throws(() => decodeRecord(bad), {instanceOf: NativeError});
    t.true((error?.message.length ?? 0) > 10);
  }
});

test('no bytes at all make the decoder throw anything but NativeError', (t) => {
  fc.assert(
    fc.property(fc.integer({min: 0, max: 16}), fc.uint8Array({maxLength: 80}), (type, payload) => {
      try {
        decodeRecord(record(type, 1, payload));
      } catch (error) {
        t.true(error instanceof NativeError);
      }
    }),
  );
  t.pass();
});

test('what a poll wrote is cut into its records, and what is not whole is refused', (t) => {
  const all = [record(5, 1), record(8, 2, bytes('010203'), 1), record(14, 0, undefined, 2)];
  t.deepEqual(splitRecords(concat(...all)), all);
  t.deepEqual(splitRecords(new Uint8Array()), []);
  t.throws(() => splitRecords(concat(...all).subarray(0, 40)), {instanceOf: NativeError});
  t.throws(() => splitRecords(bytes('00000000000000')), {instanceOf: NativeError});
});

test('decoded bytes are copies, so that a buffer may be used again', (t) => {
  const bufferOfHost = record(10, 6, bytes('01'));
  const {event: data} = decodeRecord(bufferOfHost);
  bufferOfHost[16] = 9;
  t.like(data, {data: bytes('01')});
});

test('a gap in the sequence is told before the record after it', (t) => {
  const reader = new RecordReader();
  t.deepEqual(reader.read(record(14, 0, undefined, 0)), [{type: 'interfaces'}]);
  t.deepEqual(reader.read(record(14, 0, undefined, 4)), [{type: 'gap', missed: 3}, {type: 'interfaces'}]);
  t.deepEqual(reader.read(record(14, 0, undefined, 5)), [{type: 'interfaces'}]);
});

test('records lost before the first one are a gap too', (t) => {
  t.deepEqual(new RecordReader().read(record(14, 0, undefined, 2))[0], {type: 'gap', missed: 2});
});

test('the sequence goes on at 0 after 2^32 - 1', (t) => {
  const reader = new RecordReader();
  reader.read(record(14, 0, undefined, 2 ** 32 - 1));
  t.deepEqual(reader.read(record(14, 0, undefined, 0)), [{type: 'interfaces'}]);
});

test('a record that cannot be read is counted and is itself a gap; an unknown one is only counted', (t) => {
  const reader = new RecordReader();
  t.deepEqual(reader.read(record(1, 1, undefined, 0)), [{type: 'gap', missed: 1}]);
  t.deepEqual(reader.read(record(99, 1, undefined, 1)), []);
  t.deepEqual(reader.read(record(14, 0, undefined, 2)), [{type: 'interfaces'}]);
  t.deepEqual([reader.malformed, reader.ignored], [1, 1]);
});

test('rules are read with their idle times, where never is undefined', (t) => {
  const rule = concat(bytes('02000000000a'), le(5, 2), le(-1, 4), le(0xffffffff, 4), le(1500, 4), le(2 ** 40 + 1, 8));
  t.deepEqual(decodeRules(rule), [
    {mac: '02000000000a', vlan: 5, out: -1, sourceIdleMs: undefined, destinationIdleMs: 1500, hits: 2 ** 40 + 1},
  ]);
  t.throws(() => decodeRules(rule.subarray(1)), {instanceOf: NativeError});
});

test('port counters name only the drops there were', (t) => {
  const counters = [1, 2, 3, 4, 5, ...DROP_NAMES.map((name) => (name === 'policy' ? 6 : name === 'oversize' ? 7 : 0))];
  const raw = concat(...counters.map((value) => le(value, 8)));
  t.deepEqual(decodePortCounters(raw), {
    rxFrames: 1,
    rxBytes: 2,
    txFrames: 3,
    txBytes: 4,
    upcalls: 5,
    drops: {policy: 6, oversize: 7},
  });
  t.throws(() => decodePortCounters(raw.subarray(8)), {instanceOf: NativeError});
  t.throws(() => decodeU64s(raw.subarray(1)), {instanceOf: NativeError});
});

test('link information without numbers has zeros', (t) => {
  t.like(decodeLinkInfo(utf8('rtp_sent=x\nremote=y\n')), {rtpSent: 0, remote: 'y', carriage: ''});
});
