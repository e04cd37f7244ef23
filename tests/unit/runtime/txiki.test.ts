// SPDX-License-Identifier: MIT

import {readFileSync} from 'node:fs';
import test from 'ava';
import {SIGNATURES, type Param} from '../../../src/runtime/txiki-native.ts';
import {FakeTxiki, record, type Generation} from './txiki-fake.ts';

const GENERATIONS: readonly Generation[] = ['24', '26'];

test('the table of native functions is what ipop.h declares, in its order', (t) => {
  const header = readFileSync(new URL('../../../native/include/ipop.h', import.meta.url), 'utf8');
  const code = header.replace(/\/\*[\s\S]*?\*\//g, '');
  const declared = [...code.matchAll(/^int (ipop_\w+)\(([^)]*)\);/gm)].map(([, name, list]) => {
    const params = list === 'void' ? [] : list!.split(',').map((text) => (text.includes('*') ? 'pointer' : 'int'));
    return [name, params];
  });
  const kind = (param: Param): string => (param === 'int' ? 'int' : 'pointer');
  t.deepEqual(
    Object.entries(SIGNATURES).map(([name, params]) => [name, params.map(kind)]),
    declared,
  );
  t.true(declared.length > 40);
});

test('what follows a buffer is its length; a buffer without one has a fixed size', (t) => {
  for (const [name, params] of Object.entries(SIGNATURES)) {
    for (const [i, param] of params.entries()) if (param === 'bytes') t.is(params[i + 1], 'int', `${name} ${i}`);
  }
});

for (const generation of GENERATIONS) {
  test(`${generation}: functions get C's types, and results come back`, (t) => {
    const fake = new FakeTxiki(generation);
    fake.library['ipop_hash'] = (_algorithm, _data, length) => Number(length) + 30;
    const {native} = fake.host();
    t.deepEqual(fake.opened, ['/lib/ipop/libipop.so']);
    t.deepEqual(fake.types.get('ipop_hash'), ['int', 'int', 'buffer', 'int', 'buffer', 'int']);
    t.deepEqual(fake.types.get('write'), ['int', 'int', 'buffer', 'size_t']);
    t.is(fake.types.size, Object.keys(SIGNATURES).length + 2);
    const [data, out] = [new Uint8Array(3), new Uint8Array(32)];
    t.is(native['ipop_hash']?.(2, data, 2, out, 32), 32);
    t.is(fake.called('ipop_hash')[0]?.[1], data, 'no copy');
    t.is(native['dup2'], undefined, 'only functions of ipop.h');
  });

  test(`${generation}: IPOP_LIBRARY names another library`, (t) => {
    const fake = new FakeTxiki(generation);
    fake.env = {IPOP_LIBRARY: '/opt/x.so'};
    fake.host();
    t.deepEqual(fake.opened, ['/opt/x.so']);
  });

  test(`${generation}: wrong arguments never reach native`, (t) => {
    const fake = new FakeTxiki(generation);
    const {native} = fake.host();
    const bytes = new Uint8Array(4);
    const bad = (name: string, ...args: unknown[]): unknown => native[name]?.(...(args as (number | Uint8Array)[]));
    t.throws(() => bad('ipop_random', bytes), {message: 'ipop_random takes 2 arguments, not 1'});
    t.throws(() => bad('ipop_random', bytes, 5), {instanceOf: RangeError, message: /has 4 bytes, but 5 were promised/});
    t.throws(() => bad('ipop_rule_set', 1, bytes, 0, 0), {instanceOf: RangeError, message: /but 6 were promised/});
    t.throws(() => bad('ipop_random', bytes.buffer, 4), {instanceOf: TypeError, message: /must be a Uint8Array/});
    for (const wrong of [1.5, Number.NaN, 2 ** 32, '1', undefined, 1n])
      t.throws(() => bad('ipop_port_close', wrong), {instanceOf: TypeError, message: /must be a 32-bit integer/});
    t.deepEqual(fake.calls, []);
  });

  test(`${generation}: an id may use all 32 bits, and an empty array has an address`, (t) => {
    const fake = new FakeTxiki(generation);
    const {native} = fake.host();
    native['ipop_upcall_finish']?.(1, 0xffff_fffe, -1);
    t.deepEqual(fake.called('ipop_upcall_finish'), [[1, -2, -1]]);
    native['ipop_link_send']?.(1, new Uint8Array(0), 0);
    t.is((fake.called('ipop_link_send')[0]?.[1] as Uint8Array).length, 1);
  });

  test(`${generation}: promise jobs of a record end before the next comes, also over several batches`, async (t) => {
    const fake = new FakeTxiki(generation);
    const host = fake.host();
    const seen: string[] = [];
    host.onRecord(async (bytes) => {
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
      seen.push(`record ${number}`);
      for (let i = 0; i < 5; i++) await undefined;
      seen.push(`jobs of ${number}`);
    });
    t.deepEqual(fake.called('dup2'), [[7, 20]]);
    fake.batches.push(Buffer.concat([record(1), record(2)]), Buffer.concat([record(3)]));
    await fake.turns(10);
    t.deepEqual(
      seen,
      [1, 2, 3].flatMap((number) => [`record ${number}`, `jobs of ${number}`]),
    );
  });

  test(`${generation}: a record is the callback's own`, async (t) => {
    const fake = new FakeTxiki(generation);
    const kept: Uint8Array[] = [];
    fake.host().onRecord((bytes) => void kept.push(bytes));
    fake.batches.push(record(1), record(2));
    await fake.turns(8);
    t.deepEqual(
      kept.map((bytes) => bytes[8]),
      [1, 2],
    );
  });
}

test('a timer and a signal come in turns of their own, and a flood of records does not hold them up', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  const seen: string[] = [];
  const say = async (what: string): Promise<void> => {
    seen.push(what);
    await undefined;
    await undefined;
    seen.push(`jobs of ${what}`);
  };
  host.onRecord((bytes) => say(`record ${bytes[8]}`));
  host.onSignal((signal) => say(`signal ${signal}`));
  fake.batches.push(Buffer.concat([1, 2, 3, 4, 5, 6].map(record)));
  host.setTimer(5, () => say('timer'));
  await fake.turns(2);
  fake.nowMs += 5;
  fake.signal('SIGHUP');
  fake.signal('SIGHUP');
  await fake.turns(12);
  for (let i = 0; i < seen.length; i += 2) t.is(seen[i + 1], `jobs of ${seen[i]}`);
  t.is(seen.filter((what) => what === 'signal 1').length, 1, 'one that waits already is not noted twice');
  t.true(seen.indexOf('timer') < seen.indexOf('record 4'), seen.join());
  t.true(seen.indexOf('signal 1') < seen.indexOf('record 4'), seen.join());
  t.is(seen.length, 2 * 8);
});

test('signals have their numbers', async (t) => {
  const fake = new FakeTxiki('26');
  const seen: number[] = [];
  fake.host().onSignal((signal) => void seen.push(signal));
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) fake.signal(name);
  await fake.turns(4);
  t.deepEqual(seen, [15, 2, 1]);
});

test('a timer that the loop fires early waits for its time', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  let fired = 0;
  host.setTimer(10.5, () => fired++);
  // The clock went on during the turn; the loop did not see that.
  fake.nowMs += 11;
  const late = fake.nowMs;
  fake.nowMs = late - 1;
  await fake.turns(3);
  t.is(fired, 0);
  fake.nowMs = late;
  await fake.turns(3);
  t.is(fired, 1);
});

test('a timer set anew, or not at all, is not fired; in its own callback it may be set', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  const seen: string[] = [];
  host.setTimer(5, () => seen.push('first'));
  host.setTimer(8, () => {
    seen.push('second');
    host.setTimer(1, () => seen.push('third'));
    host.setTimer(2, () => seen.push('fourth'));
  });
  fake.nowMs += 8;
  await fake.turns(2);
  t.deepEqual(seen, ['second']);
  fake.nowMs += 2;
  await fake.turns(2);
  t.deepEqual(seen, ['second', 'fourth']);
  host.setTimer(1, () => seen.push('fifth'));
  host.setTimer(undefined, () => seen.push('never'));
  fake.nowMs += 5;
  await fake.turns(3);
  t.deepEqual(seen, ['second', 'fourth']);
});

test('a timer set again and again needs few of the runtime’s, which are never cleared', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  let fired = 0;
  for (let i = 0; i < 1000; i++) {
    host.setTimer(30_000, () => fired++);
    host.setTimer(i % 2 === 0 ? 500 : undefined, () => fired++);
    host.setTimer(10_000, () => fired++);
    fake.nowMs += 3;
    await fake.turn();
  }
  t.true(fake.timers <= 4, `${fake.timers} timers`);
  t.is(fired, 0);
  fake.nowMs += 9_996;
  await fake.turns(3);
  t.is(fired, 0);
  fake.nowMs += 1;
  await fake.turns(3);
  t.is(fired, 1);
  fake.nowMs += 60_000;
  await fake.turns(5);
  t.is(fired, 1);
  t.is(fake.timers, 0);
});

test('a turn that sets the timer anew after it was due moves it', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  const seen: string[] = [];
  host.onSignal(() => {
    seen.push('signal');
    host.setTimer(50, () => seen.push('moved'));
  });
  host.setTimer(1, () => seen.push('old'));
  fake.signal('SIGHUP');
  fake.nowMs += 1;
  await fake.turns(4);
  t.deepEqual(seen, ['signal']);
  fake.nowMs += 50;
  await fake.turns(3);
  t.deepEqual(seen, ['signal', 'moved']);
});

test('what a callback throws is logged, and the next record comes', async (t) => {
  const fake = new FakeTxiki('24');
  const seen: number[] = [];
  fake.host().onRecord((bytes) => {
    seen.push(bytes[8]!);
    if (bytes[8] === 1) throw new Error('bad record');
  });
  fake.batches.push(Buffer.concat([record(1), record(2)]));
  await fake.turns(6);
  t.deepEqual(seen, [1, 2]);
  t.regex(fake.output[2], /^ipopd: uncaught exception: Error: bad record\n/);
});

test('exit ends the process after the turn and its promise jobs, with native stopped and nothing called any more', async (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  const seen: string[] = [];
  host.onRecord(async (bytes) => {
    host.exit(3);
    await undefined;
    seen.push(`jobs of ${bytes[8]}`);
    t.deepEqual(fake.called('ipop_stop'), []);
  });
  fake.batches.push(Buffer.concat([record(1), record(2)]));
  await fake.turns(6);
  t.deepEqual(seen, ['jobs of 1']);
  t.is(fake.called('ipop_stop').length, 1);
  t.is(fake.exited, 3);
});

test('output is written whole, and a reader that went away ends it', (t) => {
  const fake = new FakeTxiki('24');
  const host = fake.host();
  host.out('a text of more than ten bytes, ümlaut included\n');
  host.log('a line');
  t.deepEqual(fake.output, {1: 'a text of more than ten bytes, ümlaut included\n', 2: 'a line\n'});
  fake.library['write'] = () => -1;
  host.out('lost');
  t.is(fake.called('write').length, 7);
});

test('the first word says whether it is the daemon or the command line', (t) => {
  const args = (...words: string[]): readonly string[] => new FakeTxiki('24').host(...words).args;
  t.deepEqual(args('daemon', '--config', 'x'), ['ipopd', '--config', 'x']);
  t.deepEqual(args('ipopd'), ['ipopd']);
  t.deepEqual(args('status', '--json'), ['ipop', 'status', '--json']);
  t.deepEqual(args(), ['ipop']);
});

test('records cannot be waited for before native has started', (t) => {
  const fake = new FakeTxiki('24');
  fake.library['ipop_wake_fd'] = () => -107;
  t.throws(() => fake.host().onRecord(() => {}), {message: /only when native has started/});
});
