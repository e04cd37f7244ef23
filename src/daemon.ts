// SPDX-License-Identifier: MIT
// The daemon: the only loop. One record, signal or timer comes in, goes to the core it concerns, all effects are carried out, one timer is set.

import {textOf} from './base/errors.ts';
import type {Log, LogLevel} from './base/log.ts';
import {earliest, type Millis} from './base/time.ts';
import type {NativeEvent} from './native/datapath.ts';
import type {Native} from './native/native.ts';
import {Network, type NetworkDeps} from './network.ts';
import {fdbOf, partsOf} from './network-status.ts';
import {answerRequest, type ReloadResult} from './status/control.ts';
import {FEW_DESCRIPTORS, fewDescriptors} from './status/health.ts';
import {buildStatus} from './status/snapshot.ts';
import type {Status} from './status/types.ts';
import type {Config, NetworkConfig} from './uci/config.ts';
import {type ConfigDiff, describeDiff, diffConfig} from './uci/diff.ts';
import {VERSION} from './version.ts';

export interface DaemonDeps {
  readonly native: Native;
  readonly network: Omit<NetworkDeps, 'native' | 'log' | 'nowMs' | 'onActivity' | 'generation'>;
  readonly log: Log;
  /** Takes the records that answer streams and key derivations; false: not for it. */
  handleService(event: NativeEvent): boolean;
  handleServiceGap(): void;
  nowMs(): Millis;
  /** One timer; setting it anew replaces it, undefined stops it. */
  setTimer(delayMs: number | undefined): void;
  /** The configuration as the file has it now, or a sentence for each problem. Does not throw. */
  loadConfig(): {readonly ok: Config} | {readonly problems: readonly string[]};
  setLogLevel(lowest: LogLevel): void;
  /** The file says that ipop shall not run. */
  onDisabled(): void;
}

/** How often descriptors are looked at while anything happens: what fails without them is tried again, so something does. */
const DESCRIPTORS_EVERY_MS = 5_000;
/** What can be told at once of a wrong configuration. */
const MAX_PROBLEMS = 50;

export class Daemon {
  readonly #deps: DaemonDeps;
  readonly #networks: Network[] = [];
  readonly #startedAt: Millis;
  /** What the file said last; `#running` is on its way there. */
  #wanted: Config;
  #running: Config;
  #isConverging = false;
  #problems: readonly string[] | undefined;
  #stateProblem: string | undefined;
  #descriptors = {lookAt: 0, few: false};
  #generation = 0;
  #stopping = false;
  #stopped: Promise<unknown> = Promise.resolve();
  /** Networks that say goodbye. */
  #leaving: Promise<unknown> = Promise.resolve();

  constructor(deps: DaemonDeps, config: Config) {
    this.#deps = deps;
    this.#startedAt = deps.nowMs();
    this.#wanted = config;
    this.#running = config;
  }

  start(): void {
    for (const config of this.#running.networks) this.#add(config);
    this.#settle();
  }

  /**
   * Reads the configuration anew and applies what differs; what does not is left alone. A wrong one changes nothing. Networks that end
   * say goodbye first (at most 2 s), and what is new starts after that; what this returns is known at once.
   */
  reload(): ReloadResult {
    const {log, loadConfig, setLogLevel} = this.#deps;
    const loaded = loadConfig();
    if ('problems' in loaded) {
      const {problems} = loaded;
      for (const problem of problems.slice(0, MAX_PROBLEMS)) log('error', 'config', problem);
      log('error', 'config', 'the configuration is wrong: nothing was changed');
      const more = problems.length > MAX_PROBLEMS ? [`${problems.length - MAX_PROBLEMS} more problems`] : [];
      this.#problems = [...problems.slice(0, MAX_PROBLEMS), ...more];
      return {problems: this.#problems};
    }
    this.#problems = undefined;
    const changes = describeDiff(diffConfig(this.#wanted, loaded.ok), loaded.ok);
    // What only counts at a start is told again at each reload.
    this.#wanted = {...loaded.ok, stateDir: this.#wanted.stateDir, controlSocket: this.#wanted.controlSocket};
    setLogLevel(this.#wanted.logLevel);
    for (const line of changes.length > 0 ? changes : ['nothing changed']) log('info', 'config', line);
    this.#converge().catch((error: unknown) => log('error', 'config', `cannot apply all of it: ${textOf(error)}`));
    return {changes};
  }

  handleEvent(event: NativeEvent): void {
    const now = this.#deps.nowMs();
    if (event.type === 'ctl-request') this.#answer(event.connection, event.request, now);
    else if (event.type === 'gap') {
      this.#deps.log('warning', 'native', `${event.missed} records were lost; reading the state anew`);
      this.#deps.handleServiceGap();
      for (const network of this.#networks) network.handleEvent(event, now);
    } else if (!this.#deps.handleService(event)) {
      for (const network of this.#networks) if (network.handleEvent(event, now)) break;
    }
    this.#settle();
  }

  /** Why this start's number is not stored, for the status; undefined once it is. */
  setStateProblem(problem: string | undefined): void {
    this.#stateProblem = problem;
  }

  handleTimer(): void {
    const now = this.#deps.nowMs();
    for (const network of this.#networks) network.handleTimeout(now);
    this.#settle();
  }

  /** Ends every network side by side; taps are gone once native stops. A second call waits for the first. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#deps.setTimer(undefined);
      const now = this.#deps.nowMs();
      this.#stopped = Promise.all([this.#leaving, ...this.#networks.map((network) => network.stop(now))]);
    }
    await this.#stopped;
  }

  /** Goes from what runs to what is wanted, which may change on the way: one round at a time, however many reloads there are. */
  async #converge(): Promise<void> {
    if (this.#isConverging) return;
    this.#isConverging = true;
    try {
      while (this.#running !== this.#wanted && !this.#stopping) {
        const is = this.#wanted;
        const diff = diffConfig(this.#running, is);
        this.#running = is;
        if (!is.enabled) return this.#deps.onDisabled();
        // What is new may need an account or a tap of what ends.
        if (diff.removed.length > 0) await this.#remove(diff.removed);
        if (!this.#stopping) this.#apply(diff, is);
      }
    } finally {
      this.#isConverging = false;
    }
  }

  async #remove(removed: readonly NetworkConfig[]): Promise<void> {
    const now = this.#deps.nowMs();
    const names = new Set(removed.map(({network}) => network));
    const ending = this.#networks.filter(({config}) => names.has(config.network));
    for (const network of ending) {
      this.#networks.splice(this.#networks.indexOf(network), 1);
      this.#generation = Math.max(this.#generation, network.links.generation);
    }
    this.#leaving = Promise.all(ending.map((network) => network.stop(now)));
    await this.#leaving;
  }

  #apply({changed, added, name}: ConfigDiff, is: Config): void {
    const now = this.#deps.nowMs();
    if (name) for (const network of this.#networks) network.rename(is.name);
    const changes = changed.flatMap(({is: config, parts}) => {
      const network = this.#networks.find((one) => one.config.network === config.network);
      return network ? [{network, config, parts}] : [];
    });
    for (const {network, parts} of changes) if (parts.has('bridge')) network.closeLan();
    for (const {network, config, parts} of changes) network.configure(config, parts, now);
    const failed = added.filter((config) => !this.#tryAdd(config));
    if (failed.length > 0) {
      // As if it were not in the file, so that the next reload tries it again.
      this.#running = {...is, networks: is.networks.filter((config) => !failed.includes(config))};
      if (this.#wanted === is) this.#wanted = this.#running;
    }
    const order = is.networks.map(({network}) => network);
    this.#networks.sort((a, b) => order.indexOf(a.config.network) - order.indexOf(b.config.network));
    this.#settle();
  }

  #tryAdd(config: NetworkConfig): boolean {
    try {
      this.#add(config);
      return true;
    } catch (error) {
      const problem = `network '${config.network}' cannot be started: ${textOf(error)}`;
      this.#deps.log('error', 'config', problem);
      this.#problems = [problem];
      return false;
    }
  }

  #add(config: NetworkConfig): void {
    const {native, log, nowMs, network: shared} = this.#deps;
    const self = {...shared.self, name: this.#running.name};
    const deps = {...shared, self, native, log, nowMs, onActivity: () => this.#settle(), generation: this.#generation};
    const network = new Network(deps, config);
    this.#networks.push(network);
    network.start(nowMs());
  }

  #settle(): void {
    if (this.#stopping) return;
    const now = this.#deps.nowMs();
    if (now >= this.#descriptors.lookAt) this.#watchDescriptors(now);
    for (const network of this.#networks) network.perform(now);
    const next = earliest(...this.#networks.map((network) => network.nextTimeout()));
    this.#deps.setTimer(next ? Math.max(0, next.at - now) : undefined);
  }

  /** Says once when descriptors run out, and once when there are some again. */
  #watchDescriptors(now: Millis): void {
    const {native, log} = this.#deps;
    const {descriptorsFree: free, descriptorLimit} = native.processCounters();
    const few = free < FEW_DESCRIPTORS;
    if (few && !this.#descriptors.few) log('warning', 'daemon', fewDescriptors(free, descriptorLimit));
    if (!few && this.#descriptors.few) log('info', 'daemon', 'there are file descriptors again');
    this.#descriptors = {lookAt: now + DESCRIPTORS_EVERY_MS, few};
  }

  #answer(connection: number, request: string, now: Millis): void {
    const view = {
      status: () => this.#status(now),
      fdb: () => this.#networks.flatMap((network) => fdbOf(network, now)),
      reload: () => this.reload(),
    };
    try {
      this.#deps.native.replyControl(connection, answerRequest(request, view));
    } catch (error) {
      this.#deps.log('debug', 'control', textOf(error));
    }
  }

  #status(now: Millis): Status {
    const {native, network} = this.#deps;
    const {id} = network.self;
    return buildStatus({
      version: VERSION,
      uptimeSec: Math.floor((now - this.#startedAt) / 1000),
      node: {id, name: this.#running.name},
      ...(this.#problems ? {configProblems: this.#problems} : {}),
      ...(this.#stateProblem === undefined ? {} : {stateProblem: this.#stateProblem}),
      networks: this.#networks.map((one) => partsOf(one, native, now)),
      process: native.processCounters(),
    });
  }
}
