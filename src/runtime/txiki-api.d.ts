// SPDX-License-Identifier: MIT
// What txiki.ts uses of txiki.js, in both its generations: 24.x (tjs:ffi with Lib and CFunction) and 26.x (tjs:ffi with dlopen).

/** The global `tjs`, alike in both. */
interface Tjs {
  readonly version: string;
  /** The runtime's own words first: [exe, 'run', file, ...]. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Does not keep the loop alive. */
  addSignalListener(signal: 'SIGHUP' | 'SIGINT' | 'SIGTERM', listener: () => void): void;
  exit(code: number): never;
}

/** A type of 24.x: opaque to us. */
interface TjsType {
  readonly size: number;
}

/** tjs:ffi of 24.x, its default export. */
interface TjsFfi24 {
  readonly Lib: new (path: string) => {symbol(name: string): object};
  readonly CFunction: new (
    symbol: object,
    returns: TjsType,
    args: readonly TjsType[],
  ) => {call(...args: readonly (number | Uint8Array)[]): number};
  readonly types: Readonly<Record<'sint' | 'size' | 'buffer', TjsType>>;
}

type TjsTypeName = 'int' | 'size_t' | 'buffer';

interface TjsSignature {
  readonly args: readonly TjsTypeName[];
  readonly returns: 'int';
}

/** tjs:ffi of 26.x; the default export has every name too. */
interface TjsFfi26 {
  dlopen(
    path: string,
    symbols: Readonly<Record<string, TjsSignature>>,
  ): {readonly symbols: Readonly<Record<string, (...args: readonly (number | Uint8Array)[]) => number>>};
}

interface TjsPosixSocket {
  readonly fileno: number;
  /** What a callback throws is lost without a word. */
  poll(callbacks: {read: () => void}): void;
}

interface TjsPosixSocketClass {
  new (domain: number, type: number, protocol: number): TjsPosixSocket;
  readonly defines: {readonly AF_UNIX: number; readonly SOCK_STREAM: number};
}

declare module 'tjs:ffi' {
  const ffi: TjsFfi24 | TjsFfi26;
  export default ffi;
}

declare module 'tjs:posix-socket' {
  export const PosixSocket: TjsPosixSocketClass;
}

interface ImportMeta {
  /** Folder of the bundle. */
  readonly dirname: string;
}
