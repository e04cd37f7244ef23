// SPDX-License-Identifier: MIT
// The command line: asks the daemon over its control socket and prints the answer for people, or as it is.

import {textOf} from '../base/errors.ts';
import {CONFIG_WRONG, type ControlAnswer, type ControlCommand, writeRequest} from '../status/control.ts';
import {exitCodeOf} from '../status/health.ts';
import type {FdbEntryStatus, Status} from '../status/types.ts';
import {statusText} from './status-text.ts';
import {printable, durationText, table} from './table.ts';

/** sysexits.h: wrong use of the command. */
export const EXIT_USAGE = 64;
/** sysexits.h EX_CONFIG. */
const EXIT_CONFIG = 78;
const EXIT_DOWN = 1;
const DEFAULT_SOCKET = '/var/run/ipop.sock';

const UNREADABLE = "ipop: the daemon's answer cannot be read; are ipop and ipopd of one version?";

const USAGE = `ipop: shows and steers what the daemon ipopd does

  ipop status           links, bridge and problems
  ipop fdb              addresses learned, and where they are
  ipop reload           apply the changed configuration; what did not change goes on
  ipop help             this text

  --json                the daemon's own answer, for programs
  --socket PATH         the daemon's control socket (default ${DEFAULT_SOCKET})
  --version

Exit code of status: 0 up, 1 down (no link is up, or no daemon), 2 up with a problem; 64 wrong use.
Exit code of reload: 0 good, 78 the configuration is wrong and nothing changed, 1 no daemon.
`;

export interface CliDeps {
  readonly version: string;
  /** Sends one request line to the socket and returns the answer; throws (with `errno` when the system refused). */
  call(socket: string, request: string): string;
  /** Text for standard output. */
  out(text: string): void;
  /** One line for standard error. */
  err(line: string): void;
}

interface Options {
  command: ControlCommand | 'help' | 'version';
  json: boolean;
  socket: string;
}

/** Runs `ipop` with these arguments (without the program's name). Returns the exit code. */
export function runCli(args: readonly string[], deps: CliDeps): number {
  const options = parseArguments(args);
  if (typeof options === 'string') {
    deps.err(options);
    return EXIT_USAGE;
  }
  const {command, json, socket} = options;
  if (command === 'help' || command === 'version') {
    deps.out(command === 'help' ? USAGE : `ipop ${deps.version}\n`);
    return 0;
  }
  const answer = ask(command, socket, deps);
  if (typeof answer === 'string') {
    deps.err(answer);
    return EXIT_DOWN;
  }
  try {
    return show(command, answer, json, deps);
  } catch (error) {
    // Something in the answer has another form than this version knows.
    if (!(error instanceof TypeError)) throw error;
    deps.err(UNREADABLE);
    return EXIT_DOWN;
  }
}

function show(command: ControlCommand, answer: ControlAnswer, json: boolean, deps: CliDeps): number {
  if (command === 'reload') return showReload(answer, json, deps);
  if (!answer.ok) {
    deps.err(`ipop: the daemon refused: ${printable(answer.error.text, 256)}`);
    return EXIT_DOWN;
  }
  if (command === 'status') return showStatus(answer.status as Status, json, deps);
  showFdb(answer.fdb as readonly FdbEntryStatus[], json, deps);
  return 0;
}

/** The options, or a sentence that says what is wrong. */
function parseArguments(args: readonly string[]): Options | string {
  const options: Options = {command: 'help', json: false, socket: DEFAULT_SOCKET};
  let command: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--help' || arg === '-h') return {...options, command: 'help'};
    if (arg === '--version' || arg === '-V') return {...options, command: 'version'};
    if (arg === '--json') options.json = true;
    else if (arg === '--socket') {
      const path = args[++i];
      if (path === undefined) return 'ipop: --socket needs a path; try ipop help';
      options.socket = path;
    } else if (arg.startsWith('-')) return `ipop: unknown option '${printable(arg)}'; try ipop help`;
    else if (command !== undefined) return `ipop: unexpected argument '${printable(arg)}'; try ipop help`;
    else command = arg;
  }
  if (command === undefined) return 'ipop: a command is missing; try ipop help';
  if (command !== 'status' && command !== 'fdb' && command !== 'reload' && command !== 'help') {
    return `ipop: unknown command '${printable(command)}'; try ipop help`;
  }
  return {...options, command};
}

/** The answer, its content checked to be there; or a sentence why there is none. */
function ask(command: ControlCommand, socket: string, deps: CliDeps): ControlAnswer | string {
  let text: string;
  try {
    text = deps.call(socket, writeRequest(command));
  } catch (error) {
    return `ipop: ${whyNoAnswer(error, printable(socket, 128))}`;
  }
  const answer = parseAnswer(text);
  if (!answer) return UNREADABLE;
  if (!answer.ok || answer[command] !== undefined) return answer;
  return `ipop: the daemon's answer has no ${command}; are ipop and ipopd of one version?`;
}

function parseAnswer(text: string): ControlAnswer | undefined {
  try {
    const answer = JSON.parse(text) as ControlAnswer | null;
    return answer && (answer.ok || typeof answer.error.text === 'string') ? answer : undefined;
  } catch {
    return undefined;
  }
}

function whyNoAnswer(error: unknown, socket: string): string {
  const errno = (error as {errno?: unknown} | null)?.errno;
  // ENOENT, ECONNREFUSED, EACCES and EPERM, ETIMEDOUT of Linux.
  if (errno === 2 || errno === 111)
    return `the daemon is not running (no answer at ${socket}); start ipopd, or say --socket PATH`;
  if (errno === 13 || errno === 1) return `no right to talk to the daemon at ${socket}; run ipop as root`;
  if (errno === 110) return `the daemon at ${socket} did not answer in time; its log may say why`;
  return `cannot ask the daemon at ${socket}: ${printable(textOf(error), 256)}`;
}

function showStatus(status: Status, json: boolean, deps: CliDeps): number {
  deps.out(json ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status));
  return exitCodeOf(status);
}

function showReload(answer: ControlAnswer, json: boolean, deps: CliDeps): number {
  if (json) deps.out(`${JSON.stringify(answer, undefined, 2)}\n`);
  if (answer.ok) {
    const changes = answer.reload ?? [];
    if (!json)
      for (const line of changes.length > 0 ? changes : ['nothing changed']) deps.out(`${printable(line, 512)}\n`);
    return 0;
  }
  const {code, text, problems = []} = answer.error;
  if (!json) for (const line of [...problems, `ipop: ${text}`]) deps.err(printable(line, 512));
  return code === CONFIG_WRONG ? EXIT_CONFIG : EXIT_DOWN;
}

function showFdb(entries: readonly FdbEntryStatus[], json: boolean, deps: CliDeps): void {
  if (json) return deps.out(`${JSON.stringify(entries, undefined, 2)}\n`);
  const rows = entries.map(({network, vlan, mac, port, ageSec}) => [
    network,
    vlan === 0 ? '-' : `${vlan}`,
    mac,
    port,
    durationText(ageSec),
  ]);
  deps.out(
    rows.length === 0 ? 'no addresses learned yet\n' : table([['NETWORK', 'VLAN', 'MAC', 'PORT', 'AGE'], ...rows]),
  );
}
