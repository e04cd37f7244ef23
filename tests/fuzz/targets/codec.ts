// SPDX-License-Identifier: MIT
// Records and tables of native: bytes are cut into records and nothing is left over, and whatever does not fit is a NativeError.

import {
  decodeLinkInfo,
  decodePortCounters,
  decodeRecord,
  decodeRules,
  decodeU64s,
  RecordReader,
  splitRecords,
} from '../../../src/native/codec.ts';
import {NativeError} from '../../../src/native/datapath.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

export const target: Target = {
  seeds: [
    record(1, 7, Buffer.from('0100000002000000050040000100040001020304', 'hex')),
    record(3, 1, Buffer.from('ufrag=aB+/\npwd=x\nfingerprint=AB\nsetup=active\n')),
    record(15, 1, Buffer.from('record=5 0 5222 a.example.org\nrecord=0 0 0 .\n')),
    Buffer.concat([
      record(5, 1, Buffer.alloc(0)),
      record(11, 2, Buffer.from('code=eof\ntext=x\n')),
      record(99, 3, Buffer.from('x')),
    ]),
    record(6, 3, Buffer.from('state=up\nrtp_sent=1e999\nsilent_ms=x\nlocal_type=host\n')),
  ],
  words: ['record=', 'code=', 'text=', '1 2 3 a', 'setup=actpass\n', '\x10\0\0\0', '\x01\0\0\0'],
  check(data) {
    read(data);
    tables(data);
    const choices = new Choices(data);
    const type = choices.upTo(16);
    const one = record(type, 7, choices.rest());
    equal(Buffer.concat(splitRecords(one)), one);
    read(one);
  },
};

function record(type: number, handle: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt16LE(type, 0);
  head.writeUInt32LE(payload.length, 4);
  head.writeUInt32LE(0, 8);
  head.writeInt32LE(handle, 12);
  return Buffer.concat([head, payload]);
}

/** The value; undefined when it was refused as it should be. */
function refused<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof NativeError) || error.message.length > 300) throw error;
    return undefined;
  }
}

function read(data: Uint8Array): void {
  const records = refused(() => splitRecords(data));
  if (!records) return;
  equal(Buffer.concat(records), Buffer.from(data), 'bytes are lost between records');
  const reader = new RecordReader();
  for (const [index, one] of records.entries()) {
    const decoded = refused(() => decodeRecord(one));
    const events = reader.read(one);
    holds(events.length <= 2, 'a gap and an event at most');
    if (!decoded) equal(events, [{type: 'gap', missed: 1}]);
    else if (decoded.event) equal(events.at(-1), decoded.event, `record ${index}`);
    if (decoded?.event?.type === 'srv') {
      for (const {priority, weight, port, target: name} of decoded.event.records) {
        holds([priority, weight, port].every(Number.isInteger) && /^\S+$/.test(name), name);
      }
    }
  }
}

function tables(data: Uint8Array): void {
  const rules = refused(() => decodeRules(data));
  if (rules) equal(rules.length * 28, data.length);
  refused(() => decodePortCounters(data));
  const counters = refused(() => decodeU64s(data));
  if (counters) equal(counters.length * 8, data.length);
  const info = decodeLinkInfo(data);
  for (const count of [info.rtpSent, info.rtpReceived, info.ssrcChanges, info.silentMs]) {
    holds(Number.isFinite(count), 'a count that is no number');
  }
}
