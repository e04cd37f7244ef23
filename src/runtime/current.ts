// SPDX-License-Identifier: MIT
// The host of this process: our own binary, which puts a `__host` into the global scope (native/host), or txiki.js.

import {installConsole} from './console.ts';
import type {Host} from './host.ts';
import {runOnTxiki} from './txiki.ts';

/** Runs the program on the runtime around it. Throws when that is none we know. */
export function runOnHost(program: (host: Host) => void): void {
  const run = (host: Host): void => {
    // quickjs-ng has no console, which the events package wants for its warnings; txiki.js's writes to standard output.
    installConsole((method, line) => host.log(`console ${method}: ${line}`));
    program(host);
  };
  const {__host, tjs} = globalThis as {__host?: Host; tjs?: Tjs};
  if (__host !== undefined) run(__host);
  else if (tjs !== undefined) void runOnTxiki(tjs, run);
  else throw new Error('this bundle runs inside ipopd, or on txiki.js');
}
