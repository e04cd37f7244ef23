// SPDX-License-Identifier: MIT
import {readFileSync} from 'node:fs';
import test from 'ava';
import {fromUtf8, utf8} from '../../../src/base/bytes.ts';
import {DROP_NAMES, NativeError} from '../../../src/native/datapath.ts';
import {Native} from '../../../src/native/native.ts';
import type {NativeCall} from '../../../src/runtime/host.ts';

const header = readFileSync(new URL('../../../native/include/ipop.h', import.meta.url), 'utf8');

/** A native half that notes calls and answers with a number, or what `answers` does. */
function native(answers: Record<string, (...args: (number | Uint8Array)[]) => number> = {}): {
  native: Native;
  calls: (string | number)[][];
} {
  const calls: (string | number)[][] = [];
  const all: Record<string, NativeCall> = {};
  for (const [, name = ''] of header.matchAll(/^int (ipop_\w+)\(/gm)) {
    all[name] = (...args) => {
      calls.push([name, ...args.map((arg) => (typeof arg === 'number' ? arg : fromUtf8(arg)))]);
      return answers[name]?.(...args) ?? 0;
    };
  }
  return {native: new Native(all), calls};
}

function fill(text: string): (...args: (number | Uint8Array)[]) => number {
  return (...args) => {
    const buffer = args.findLast((arg) => typeof arg !== 'number') as Uint8Array;
    buffer.set(utf8(text));
    return utf8(text).length;
  };
}

test('a failed call throws with errno, the function and its sentence', (t) => {
  const {native: half} = native({
    ipop_switch_open: () => -12,
    ipop_last_error: fill('cannot open a switch: no memory'),
  });
  const error = t.throws(() => half.openSwitch(), {
    instanceOf: NativeError,
    message: 'cannot open a switch: no memory',
  });
  t.like(error, {errno: 12, call: 'ipop_switch_open'});
});

test('a failure without a sentence still says which call it was', (t) => {
  const {native: half} = native({ipop_switch_open: () => -12});
  t.throws(() => half.openSwitch(), {message: 'ipop_switch_open failed with errno 12'});
});

test('a library without a function is told as such', (t) => {
  t.throws(() => new Native({}).openSwitch(), {instanceOf: NativeError, message: /has no function ipop_switch_open/});
});

test('a library of another version is refused before it is started', (t) => {
  const {native: half, calls} = native({ipop_abi_version: () => 2});
  t.throws(() => half.start(), {message: 'the native library is version 2, not 1'});
  t.false(calls.some(([name]) => name === 'ipop_start'));
});

test('what is not there any more is false, other failures throw', (t) => {
  const gone = native({ipop_rule_delete: () => -2, ipop_upcall_finish: () => -2});
  t.false(gone.native.deleteRule(1, '02000000000a', 0));
  t.false(gone.native.finishUpcall(1, 7, -1));
  const bad = native({ipop_upcall_finish: () => -22});
  t.throws(() => bad.native.finishUpcall(1, 7, -1), {instanceOf: NativeError});
});

test('an address that is none never reaches native', (t) => {
  const {native: half, calls} = native();
  for (const mac of ['', '0200', '02:00:00:00:00:0a', '02000000000g']) {
    t.throws(() => half.setRule(1, mac, 0, 1), {instanceOf: NativeError});
  }
  t.deepEqual(calls, []);
});

test('texts and maps are passed as bytes and length', (t) => {
  const {native: half, calls} = native();
  half.openTap(1, 'ipop0', 1500);
  half.openLink(1, 'answer', ['stun:a:1', 'turn:u:p@b:2']);
  half.addCandidate(3, 'candidate:ü');
  const map = 'server=stun:a:1\nserver=turn:u:p@b:2\n';
  t.deepEqual(calls, [
    ['ipop_tap_open', 1, 'ipop0', 5, 1500],
    ['ipop_link_open', 1, 1, map, map.length],
    ['ipop_link_candidate', 3, 'candidate:ü', 12],
  ]);
});

test('rules are read until native has no more', (t) => {
  const total = 700;
  const {native: half, calls} = native({
    ipop_rules_dump: (_sw, start, _buffer, capacity) =>
      Math.min(total - (start as number), Math.floor((capacity as number) / 28)),
  });
  t.is(half.dumpRules(4).length, total);
  t.deepEqual(
    calls.map(([, sw, start]) => [sw, start]),
    [
      [4, 0],
      [4, 512],
      [4, 700],
    ],
  );
});

test('a bridge without a name is none', (t) => {
  t.is(native().native.bridgeOf(1), undefined);
  t.is(native({ipop_bridge_of: fill('br-lan')}).native.bridgeOf(1), 'br-lan');
});

test('a key or signature of the wrong length is never good', (t) => {
  const {native: half} = native({ipop_verify: () => 1});
  t.false(half.verify(new Uint8Array(31), utf8('x'), new Uint8Array(64)));
  t.false(half.verify(new Uint8Array(32), utf8('x'), new Uint8Array(63)));
  t.true(half.verify(new Uint8Array(32), utf8('x'), new Uint8Array(64)));
});

test('drop names are those of the header, in its order', (t) => {
  const names = [...header.matchAll(/^ {2}IPOP_DROP_(\w+?)(?: = 0)?,/gm)].map(([, name = '']) =>
    name.toLowerCase().replaceAll('_', '-'),
  );
  t.deepEqual([...DROP_NAMES] as string[], names);
});

test('every function of the header but the host’s own is used by its name', (t) => {
  const source = ['native', 'calls']
    .map((file) => readFileSync(new URL(`../../../src/native/${file}.ts`, import.meta.url), 'utf8'))
    .join('');
  const ofHost = ['ipop_wake_fd', 'ipop_poll'];
  for (const [, name = ''] of header.matchAll(/^int (ipop_\w+)\(/gm)) {
    t.is(source.includes(`'${name}'`), !ofHost.includes(name), name);
  }
});
