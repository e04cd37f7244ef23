// SPDX-License-Identifier: MIT
// Composition root: builds the object graph for the program it was started as. `ipop` is the command line, anything else the daemon.

import {runCli} from './cli/ipop.ts';
import {Native} from './native/native.ts';
import {runOnHost} from './runtime/current.ts';
import {runDaemon} from './run-daemon.ts';
import {VERSION} from './version.ts';

runOnHost((host) => {
  const [program = '', ...args] = host.args;
  if (!/(^|\/)ipop$/.test(program)) return runDaemon(host, args);
  const native = new Native(host.native);
  const code = runCli(args, {
    version: VERSION,
    call: (socket, request) => native.callControl(socket, request),
    out: (text) => host.out(text),
    err: (line) => host.log(line),
  });
  host.exit(code);
});
