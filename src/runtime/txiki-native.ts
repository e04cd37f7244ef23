// SPDX-License-Identifier: MIT
// libipop.so through txiki.js's FFI: every function of ipop.h, its arguments checked, since FFI itself checks none.

import type {NativeCall} from './host.ts';

/** `int`; `bytes`: an array whose length is the next argument; a number: an array of at least so many bytes; `size`: C's size_t. */
export type Param = 'int' | 'bytes' | 'size' | number;
type Signatures = Readonly<Record<string, readonly Param[]>>;

/** ipop.h; a test compares the two. */
export const SIGNATURES: Signatures = {
  ipop_abi_version: [],
  ipop_start: [],
  ipop_stop: [],
  ipop_wake_fd: [],
  ipop_poll: ['bytes', 'int'],
  ipop_last_error: ['bytes', 'int'],
  ipop_process_counters: ['bytes', 'int'],
  ipop_switch_open: [],
  ipop_switch_close: ['int'],
  ipop_tap_open: ['int', 'bytes', 'int', 'int'],
  ipop_memory_open: ['int', 'int'],
  ipop_memory_write: ['int', 'bytes', 'int'],
  ipop_memory_read: ['int', 'bytes', 'int'],
  ipop_port_enable: ['int', 'int'],
  ipop_port_stand_in: ['int', 'int'],
  ipop_port_close: ['int'],
  ipop_port_counters: ['int', 'bytes', 'int'],
  ipop_rule_set: ['int', 6, 'int', 'int'],
  ipop_rule_delete: ['int', 6, 'int'],
  ipop_rules_flush: ['int', 'int'],
  ipop_rules_dump: ['int', 'int', 'bytes', 'int'],
  ipop_upcall_finish: ['int', 'int', 'int'],
  ipop_link_open: ['int', 'int', 'bytes', 'int'],
  ipop_link_remote: ['int', 'bytes', 'int'],
  ipop_link_candidate: ['int', 'bytes', 'int'],
  ipop_link_send: ['int', 'bytes', 'int'],
  ipop_link_express: ['int', 'bytes', 'int'],
  ipop_switch_shape: ['int', 'bytes', 'int'],
  ipop_link_info: ['int', 'bytes', 'int'],
  ipop_link_close: ['int'],
  ipop_stream_open: ['bytes', 'int'],
  ipop_stream_write: ['int', 'bytes', 'int'],
  ipop_stream_close: ['int'],
  ipop_srv_lookup: ['bytes', 'int'],
  ipop_ctl_listen: ['bytes', 'int'],
  ipop_ctl_reply: ['int', 'bytes', 'int'],
  ipop_ctl_call: ['bytes', 'int', 'bytes', 'int', 'bytes', 'int'],
  ipop_random: ['bytes', 'int'],
  ipop_hash: ['int', 'bytes', 'int', 'bytes', 'int'],
  ipop_hmac: ['int', 'bytes', 'int', 'bytes', 'int', 'bytes', 'int'],
  ipop_pbkdf2: ['int', 'bytes', 'int', 'bytes', 'int', 'int'],
  ipop_identity_open: ['bytes', 'int', 'bytes', 'int'],
  ipop_sign: ['bytes', 'int', 'bytes', 'int'],
  ipop_verify: [32, 'bytes', 'int', 64],
  ipop_file_read: ['bytes', 'int', 'bytes', 'int'],
  ipop_file_write: ['bytes', 'int', 'bytes', 'int'],
  ipop_host_name: ['bytes', 'int'],
  ipop_bridge_join: ['int', 'bytes', 'int'],
  ipop_bridge_of: ['int', 'bytes', 'int'],
  ipop_address_overlay: ['bytes', 'int'],
};

/** Of the C library, found through ours, which is linked with it: for the wake-up, and for output that is out before we exit. */
const LIBC = {dup2: ['int', 'int'], write: ['int', 'bytes', 'size']} as const satisfies Signatures;

export interface NativeLibrary {
  readonly native: Readonly<Record<string, NativeCall | undefined>>;
  readonly libc: Readonly<Record<keyof typeof LIBC, NativeCall>>;
}

/** Loads libipop.so. Throws the loader's words when there is no such file, or when it lacks a function. */
export function loadNative(ffi: TjsFfi24 | TjsFfi26, path: string): NativeLibrary {
  const signatures: Signatures = {...SIGNATURES, ...LIBC};
  const raw = 'dlopen' in ffi ? open26(ffi, path, signatures) : open24(ffi, path, signatures);
  const checked = (names: Signatures) =>
    Object.fromEntries(Object.entries(names).map(([name, params]) => [name, check(name, params, raw[name]!)]));
  return {native: checked(SIGNATURES), libc: checked(LIBC) as NativeLibrary['libc']};
}

function open24(ffi: TjsFfi24, path: string, signatures: Signatures): Record<string, NativeCall> {
  const {Lib, CFunction, types} = ffi;
  const library = new Lib(path);
  const type = (param: Param) => (param === 'int' ? types.sint : param === 'size' ? types.size : types.buffer);
  const calls = Object.entries(signatures).map(([name, params]) => {
    const call = new CFunction(library.symbol(name), types.sint, params.map(type));
    return [name, (...args: (number | Uint8Array)[]) => call.call(...args)] as const;
  });
  return Object.fromEntries(calls);
}

function open26(ffi: TjsFfi26, path: string, signatures: Signatures): Record<string, NativeCall> {
  const type = (param: Param): TjsTypeName => (param === 'int' ? 'int' : param === 'size' ? 'size_t' : 'buffer');
  const symbols = Object.entries(signatures).map(
    ([name, params]) => [name, {args: params.map(type), returns: 'int'}] as const,
  );
  return {...ffi.dlopen(path, Object.fromEntries(symbols)).symbols};
}

/** The address of an empty array is nothing to rely on. */
const EMPTY = new Uint8Array(1);

/** TypeError: wrong number or type of an argument; RangeError: an array shorter than native would be told. */
function check(name: string, params: readonly Param[], call: NativeCall): NativeCall {
  return (...args) => {
    if (args.length !== params.length)
      throw new TypeError(`${name} takes ${params.length} arguments, not ${args.length}`);
    return call(...params.map((param, i) => argument(`argument ${i + 1} of ${name}`, param, args, i)));
  };
}

function argument(
  what: string,
  param: Param,
  args: readonly (number | Uint8Array)[],
  index: number,
): number | Uint8Array {
  const value = args[index];
  if (param === 'int' || param === 'size') {
    // With or without sign: an id may use all 32 bits.
    const isInt = Number.isInteger(value) && (value as number) >= -(2 ** 31) && (value as number) < 2 ** 32;
    if (!isInt) throw new TypeError(`${what} must be a 32-bit integer`);
    return (value as number) | 0;
  }
  if (!(value instanceof Uint8Array)) throw new TypeError(`${what} must be a Uint8Array`);
  const needed = typeof param === 'number' ? param : Number(args[index + 1]);
  if (value.length < needed) throw new RangeError(`${what} has ${value.length} bytes, but ${needed} were promised`);
  return value.length === 0 ? EMPTY : value;
}
