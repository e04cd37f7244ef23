// SPDX-License-Identifier: MIT
// Start and end of the daemon: arguments, configuration, identity, boot number, signals.

import {fromUtf8} from './base/bytes.ts';
import {IpopError, textOf} from './base/errors.ts';
import {type Log, type LogLevel, oneLine} from './base/log.ts';
import {storeBoot, takeBoot} from './controller/boot.ts';
import {Daemon, type DaemonDeps} from './daemon.ts';
import {RecordReader} from './native/codec.ts';
import {NativeError} from './native/datapath.ts';
import {Native} from './native/native.ts';
import {Services} from './native/services.ts';
import type {Host} from './runtime/host.ts';
import {Timers} from './runtime/timers.ts';
import {nodeId} from './tincan/identity.ts';
import {type Config, readConfig} from './uci/config.ts';
import {VERSION} from './version.ts';
import type {HashName} from './xmpp/types.ts';

const DEFAULT_CONFIG = '/etc/config/ipop';
/** sysexits.h EX_USAGE and EX_CONFIG; for the latter no supervisor should restart us. */
const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;
const EXIT_FAILED = 1;
/** The goodbyes may take this long; native's own end comes after. */
const STOP_MS = 2_500;
const ANSWER_MS = 100;
const SIGHUP = 1;
const STORE_AGAIN_MS = 10_000;
/** errno of a full disk (ENOSPC, EDQUOT), and of one that may not be written (EACCES, EROFS). */
const FULL: readonly number[] = [28, 122];
const LOCKED: readonly number[] = [13, 30];

const USAGE = `ipopd: joins this LAN to those of its peers

  ipopd [--config FILE]   run in the foreground (default ${DEFAULT_CONFIG}); log lines go to standard error
  ipopd --check           check the configuration and stop: exit code 0 or ${EXIT_CONFIG}
  ipopd --version
`;

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error'];

/** Runs the daemon until a signal or a failure ends it; the exit code says which. */
export function runDaemon(host: Host, args: readonly string[]): void {
  const options = parseArguments(args);
  if (typeof options === 'string') {
    host.log(options);
    return host.exit(EXIT_USAGE);
  }
  if (options.show) {
    host.out(options.show === 'version' ? `ipopd ${VERSION}\n` : USAGE);
    return host.exit(0);
  }
  const native = new Native(host.native);
  try {
    const loaded = loadConfig(native, options.config);
    if ('problems' in loaded) {
      for (const problem of loaded.problems) host.log(`error: ${problem}`);
      return host.exit(EXIT_CONFIG);
    }
    const config = loaded.ok;
    if (options.check) {
      host.out(`${options.config}: good\n`);
      return host.exit(0);
    }
    if (!config.enabled) {
      host.log(`ipop is disabled: set option enabled '1' in section 'main' of ${options.config}`);
      return host.exit(0);
    }
    start(host, native, config, options.config);
  } catch (error) {
    host.log(`error: ${textOf(error)}`);
    host.exit(EXIT_FAILED);
  }
}

interface Options {
  config: string;
  check: boolean;
  show?: 'version' | 'help';
}

/** The options, or a sentence that says which argument is wrong. */
function parseArguments(args: readonly string[]): Options | string {
  const options: Options = {config: DEFAULT_CONFIG, check: false};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--version' || arg === '-v' || arg === '-V') options.show = 'version';
    else if (arg === '--help' || arg === '-h') options.show = 'help';
    else if (arg === '--check') options.check = true;
    else if (arg === '--config' || arg === '-c') {
      const file = args[++i];
      if (file === undefined) return `ipopd: ${arg} needs a file; try ipopd --help`;
      options.config = file;
    } else return `ipopd: unknown argument '${arg}'; try ipopd --help`;
  }
  return options;
}

function loadConfig(native: Native, file: string): {ok: Config} | {problems: readonly string[]} {
  let text: string;
  try {
    text = fromUtf8(native.readFile(file));
  } catch (error) {
    return {problems: [`cannot read the configuration: ${textOf(error)}`]};
  }
  const result = readConfig(text, file, {hostName: native.hostName()});
  return 'ok' in result ? result : {problems: result.problems.map((problem) => problem.text)};
}

function start(host: Host, native: Native, config: Config, file: string): void {
  const {log, setLogLevel} = makeLog(host, config.logLevel);
  native.start();
  const publicKey = openIdentity(native, `${config.stateDir}/identity.key`);
  const bootFile = `${config.stateDir}/boot`;
  const {boot, problem} = takeBoot(native, bootFile, host.wallMs() / 1000);
  const self = {
    id: nodeId(publicKey, (data) => native.hash('sha256', data)),
    name: config.name,
    publicKey,
    boot,
  };
  native.listenControl(config.controlSocket);

  const timers = new Timers(host);
  timers.install();
  const daemon = makeDaemon({
    host,
    native,
    timers,
    log,
    self,
    config,
    loadConfig: () => loadConfig(native, file),
    setLogLevel,
    onDisabled() {
      log('info', 'daemon', `ipop is disabled in ${file}`);
      // The answer to `ipop reload` leaves first.
      timers.after(ANSWER_MS, () => stop({host, timers, log, daemon}));
    },
  });
  keepStored(problem, {native, timers, log, daemon, bootFile, boot});
  const reader = new RecordReader();
  host.onRecord((record) => {
    for (const event of reader.read(record)) daemon.handleEvent(event);
  });
  host.onSignal((signal) => {
    if (signal === SIGHUP) daemon.reload();
    else stop({host, timers, log, daemon});
  });
  log('info', 'daemon', `ipop ${VERSION}, node ${self.name} (${self.id.slice(0, 8)}), boot ${self.boot}`);
  daemon.start();
}

interface Parts extends Pick<DaemonDeps, 'loadConfig' | 'setLogLevel' | 'onDisabled'> {
  readonly config: Config;
  readonly host: Host;
  readonly native: Native;
  readonly timers: Timers;
  readonly log: Log;
  readonly daemon: Daemon;
  readonly self: DaemonDeps['network']['self'];
}

function makeDaemon({host, native, timers, log, self, config, ...reloading}: Omit<Parts, 'daemon'>): Daemon {
  const randomBytes = (length: number) => native.random(length);
  const services = new Services({
    openStream: (target) => native.openStream(target),
    writeStream: (stream, data) => native.writeStream(stream, data),
    closeStream: (stream) => native.closeStream(stream),
    lookupSrv: (config) => native.lookupSrv(config),
    pbkdf2: (name, password, salt, rounds) => native.pbkdf2(algorithm(name), password, salt, rounds),
  });
  let cancelTimer: (() => void) | undefined;
  const deps: DaemonDeps = {
    ...reloading,
    native,
    log,
    network: {
      self,
      crypto: {
        sign: (data) => native.sign(data),
        verify: (key, data, signature) => native.verify(key, data, signature),
        sha256: (data) => native.hash('sha256', data),
        randomBytes,
        random: Math.random,
      },
      xmpp: {
        openStream: (target, handlers) => services.openStream(target, handlers),
        lookupSrv: (name, timeoutMs) => services.lookupSrv(name, timeoutMs),
        hash: (name, data) => native.hash(algorithm(name), data),
        hmac: (name, key, data) => native.hmac(algorithm(name), key, data),
        pbkdf2: (name, password, salt, rounds) => services.pbkdf2(name, password, salt, rounds),
        randomBytes,
        nowMs: () => host.nowMs(),
        after: (delayMs, callback) => timers.after(delayMs, callback),
      },
    },
    handleService: (event) => services.handleEvent(event),
    handleServiceGap: () => services.handleGap(),
    nowMs: () => host.nowMs(),
    setTimer(delayMs) {
      cancelTimer?.();
      cancelTimer = delayMs === undefined ? undefined : timers.after(delayMs, () => daemon.handleTimer());
    },
  };
  const daemon = new Daemon(deps, config);
  return daemon;
}

/** Says goodbye to peers and servers, at most STOP_MS, and ends the process. */
function stop({host, timers, log, daemon}: Pick<Parts, 'host' | 'timers' | 'log' | 'daemon'>): void {
  log('info', 'daemon', 'stopping');
  timers.after(STOP_MS, () => host.exit(0));
  daemon.stop().then(
    () => host.exit(0),
    (error: unknown) => {
      log('error', 'daemon', `cannot stop cleanly: ${textOf(error)}`);
      host.exit(EXIT_FAILED);
    },
  );
}

/** While the boot number could not be stored, tries again: a disk gets room, a folder gets writable. */
function keepStored(
  problem: string | undefined,
  parts: Pick<Parts, 'native' | 'timers' | 'log' | 'daemon'> & {readonly bootFile: string; readonly boot: number},
): void {
  const {native, timers, log, daemon, bootFile, boot} = parts;
  daemon.setStateProblem(problem);
  if (problem === undefined) return;
  log('warning', 'daemon', `${problem}: peers may be slow to believe the next start`);
  const again = (): void => {
    const still = storeBoot(native, bootFile, boot);
    daemon.setStateProblem(still);
    if (still === undefined) log('info', 'daemon', `${bootFile} is stored now`);
    else timers.after(STORE_AGAIN_MS, again);
  };
  timers.after(STORE_AGAIN_MS, again);
}

function openIdentity(native: Native, path: string): Uint8Array {
  try {
    return native.openIdentity(path);
  } catch (error) {
    const way = wayOut(error);
    throw new IpopError('identity', `cannot use this node's key: ${textOf(error)}${way}`, {cause: error});
  }
}

/** Of a folder that cannot be written; other failures say theirs themselves. */
function wayOut(error: unknown): string {
  const errno = error instanceof NativeError ? error.errno : 0;
  if (FULL.includes(errno)) return ': free space there, or set option state_dir to another folder';
  if (LOCKED.includes(errno)) return ': make its folder writable for ipopd, or set option state_dir to one that is';
  return '';
}

function algorithm(name: HashName): 'sha1' | 'sha256' {
  return name === 'SHA-1' ? 'sha1' : 'sha256';
}

function makeLog(host: Host, level: LogLevel): {log: Log; setLogLevel(lowest: LogLevel): void} {
  let lowest = level;
  return {
    log(level, component, text) {
      if (LEVELS.indexOf(level) >= LEVELS.indexOf(lowest)) host.log(`${level}: ${component}: ${oneLine(text)}`);
    },
    setLogLevel(level) {
      lowest = level;
    },
  };
}
