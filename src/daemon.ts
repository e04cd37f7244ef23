// SPDX-License-Identifier: MIT
// The daemon: the only loop. One record, signal or timer comes in, goes to the core it concerns, all effects are carried out, one timer is set.

import {textOf} from './base/errors.ts';
import type {Log} from './base/log.ts';
import {earliest, type Millis} from './base/time.ts';
import type {NativeEvent} from './native/datapath.ts';
import type {Native} from './native/native.ts';
import {Network, type NetworkDeps} from './network.ts';
import {fdbOf, partsOf} from './network-status.ts';
import {answerRequest} from './status/control.ts';
import {buildStatus} from './status/snapshot.ts';
import type {Status} from './status/types.ts';
import type {NetworkConfig} from './uci/config.ts';
import {VERSION} from './version.ts';

export interface DaemonDeps {
  readonly native: Native;
  readonly network: Omit<NetworkDeps, 'native' | 'log' | 'nowMs' | 'onActivity'>;
  readonly log: Log;
  /** Takes the records that answer streams and key derivations; false: not for it. */
  handleService(event: NativeEvent): boolean;
  handleServiceGap(): void;
  nowMs(): Millis;
  /** One timer; setting it anew replaces it, undefined stops it. */
  setTimer(delayMs: number | undefined): void;
}

export class Daemon {
  readonly #deps: DaemonDeps;
  readonly #networks: Network[] = [];
  readonly #startedAt: Millis;
  #stopping = false;
  #stopped: Promise<unknown> = Promise.resolve();

  constructor(deps: DaemonDeps) {
    this.#deps = deps;
    this.#startedAt = deps.nowMs();
  }

  start(networks: readonly NetworkConfig[]): void {
    const {native, log, nowMs} = this.#deps;
    for (const config of networks) {
      const network = new Network(
        {...this.#deps.network, native, log, nowMs, onActivity: () => this.#settle()},
        config,
      );
      this.#networks.push(network);
      network.start(nowMs());
    }
    this.#settle();
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
      this.#stopped = Promise.all(this.#networks.map((network) => network.stop(now)));
    }
    await this.#stopped;
  }

  #settle(): void {
    if (this.#stopping) return;
    const now = this.#deps.nowMs();
    for (const network of this.#networks) network.perform(now);
    const next = earliest(...this.#networks.map((network) => network.nextTimeout()));
    this.#deps.setTimer(next ? Math.max(0, next.at - now) : undefined);
  }

  #answer(connection: number, request: string, now: Millis): void {
    const view = {
      status: () => this.#status(now),
      fdb: () => this.#networks.flatMap((network) => fdbOf(network, now)),
    };
    try {
      this.#deps.native.replyControl(connection, answerRequest(request, view));
    } catch (error) {
      this.#deps.log('debug', 'control', textOf(error));
    }
  }

  #status(now: Millis): Status {
    const {native, network} = this.#deps;
    const {id, name} = network.self;
    return buildStatus({
      version: VERSION,
      uptimeSec: Math.floor((now - this.#startedAt) / 1000),
      node: {id, name},
      networks: this.#networks.map((one) => partsOf(one, native, now)),
      process: native.processCounters(),
    });
  }
}
