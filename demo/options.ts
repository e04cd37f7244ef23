// SPDX-License-Identifier: MIT
// The demo's command line.

import {writeFileSync} from 'node:fs';
import {resolve} from 'node:path';
import {parseArgs} from 'node:util';

export interface Options {
  /** Leave everything standing at the end. */
  readonly keep: boolean;
  /** Take down what an earlier run left standing, and nothing else. */
  readonly down: boolean;
  readonly help: boolean;
  /** File for everything that was measured. */
  readonly json: string | undefined;
}

export const HELP = `Three LANs become one Ethernet: three routers with real NATs, a real XMPP server and a real TURN server,
all in network namespaces of this machine, and ipop on each router.

  npm run demo                        show it, then take everything down
  npm run demo -- --keep              leave it standing and tell how to enter each host
  npm run demo -- --down              take down what --keep left standing
  npm run demo -- --json FILE         write everything that was measured to FILE

Exit code: 0 every proof holds, 1 one does not, 2 this machine cannot run it.`;

/** Reads the arguments; throws with a sentence about the first one that is wrong. */
export function readOptions(args: string[]): Options {
  const {values} = parseArgs({
    args,
    options: {
      keep: {type: 'boolean', default: false},
      down: {type: 'boolean', default: false},
      help: {type: 'boolean', default: false},
      json: {type: 'string'},
    },
  });
  return {
    keep: values.keep,
    down: values.down,
    help: values.help,
    json: values.json === undefined ? undefined : writable(values.json),
  };
}

/** The file's full path; throws now, and not after the work, if it cannot be written. */
function writable(file: string): string {
  const path = resolve(process.env['DEMO_FROM'] ?? '.', file);
  writeFileSync(path, '');
  return path;
}
