// SPDX-License-Identifier: MIT
// Adapter for our own binary: native/host puts a `__host` into the global scope that is interface Host already.

import {installConsole} from './console.ts';
import type {Host} from './host.ts';

/** The host of this process. */
export const host: Host = find();

// quickjs-ng has no console, which the events package wants for its warnings.
installConsole((method, line) => host.log(`console ${method}: ${line}`));

function find(): Host {
  const found = (globalThis as {__host?: Host}).__host;
  if (found === undefined) throw new Error('this bundle runs inside ipopd only');
  return found;
}
