// SPDX-License-Identifier: MIT
// Adapter for our own binary: native/host puts a `__host` into the global scope that is interface Host already.

import type {Host} from './host.ts';

/** The host of this process. Throws where there is none, so that a bundle run by the wrong program says so. */
export function ipopdHost(): Host {
  const host = (globalThis as {__host?: Host}).__host;
  if (host === undefined) throw new Error('This bundle runs inside ipopd only');
  return host;
}
