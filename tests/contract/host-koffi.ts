// SPDX-License-Identifier: MIT
// The real native library in Node: every function of ipop.h by koffi, as declared in the header itself. For tests only.

import {existsSync, readFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import koffi from 'koffi';
import {splitRecords} from '../../src/native/codec.ts';
import type {Host, NativeCall} from '../../src/runtime/host.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Where the build puts it; IPOP_NATIVE_LIBRARY says otherwise. */
export const LIBRARY = process.env['IPOP_NATIVE_LIBRARY'] ?? join(root, 'dist', 'libipop.so');

/** Why the real library cannot be tested here; undefined: it can. Throws when it must be there (IPOP_REQUIRE_NATIVE=1) and is not. */
export function nativeMissing(): string | undefined {
  if (existsSync(LIBRARY)) return undefined;
  const reason = `${LIBRARY} is not built`;
  if (process.env['IPOP_REQUIRE_NATIVE'] === '1') throw new Error(reason);
  return reason;
}

/** Every function of the header. Throws when the library lacks one. */
function loadNative(path: string): Record<string, NativeCall> {
  const library = koffi.load(path);
  const header = readFileSync(join(root, 'native', 'include', 'ipop.h'), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const native: Record<string, NativeCall> = {};
  const missing: string[] = [];
  for (const [, name, list] of header.matchAll(/^int (ipop_\w+)\(([^)]*)\);/gm)) {
    const parameters = (list as string).split(',').map((text) => text.trim());
    const types = parameters[0] === 'void' ? [] : parameters.map((text) => (text.includes('*') ? 'uint8_t *' : 'int'));
    try {
      native[name as string] = library.func(name as string, 'int', types) as NativeCall;
    } catch {
      missing.push(name as string);
    }
  }
  if (missing.length > 0) throw new Error(`${path} lacks ${missing.join(', ')}`);
  return native;
}

/** How often records are looked for: Node cannot poll a descriptor that is not its own. */
const POLL_MS = 2;

/** What the bundle knows of its runtime, on Node. */
export interface KoffiHost extends Host {
  /** Hands over the records that wait now, without waiting for the loop. */
  pump(): void;
  /** Lets the process end. */
  close(): void;
  /** What `log` was given. */
  readonly logged: readonly string[];
  /** What `out` was given. */
  readonly printed: readonly string[];
}

export function koffiHost(args: readonly string[] = ['ipopd'], path: string = LIBRARY): KoffiHost {
  const native = loadNative(path);
  const buffer = new Uint8Array(1 << 17);
  const logged: string[] = [];
  const printed: string[] = [];
  let onRecord: ((record: Uint8Array) => void) | undefined;
  let poller: NodeJS.Timeout | undefined;
  let timer: NodeJS.Timeout | undefined;

  function pump(): void {
    for (;;) {
      const length = native['ipop_poll']?.(buffer, buffer.length) ?? 0;
      if (length <= 0) return;
      for (const record of splitRecords(buffer.subarray(0, length))) onRecord?.(record);
    }
  }

  return {
    native,
    args,
    logged,
    printed,
    nowMs: () => Math.floor(performance.now()),
    wallMs: () => Date.now(),
    setTimer(delayMs, callback) {
      clearTimeout(timer);
      timer = delayMs === undefined ? undefined : setTimeout(callback, delayMs);
    },
    onRecord(callback) {
      onRecord = callback;
      poller ??= setInterval(pump, POLL_MS);
    },
    onSignal() {},
    out: (text) => void printed.push(text),
    log: (line) => void logged.push(line),
    exit() {},
    pump,
    close() {
      clearInterval(poller);
      clearTimeout(timer);
    },
  };
}
