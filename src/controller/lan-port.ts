// SPDX-License-Identifier: MIT
// The LAN side of a network: a tap, and the bridge it sits in. Either may be missing, vanish or appear at any time; this keeps trying,
// says what is missing, and touches nothing that is right already.

import {IpopError, textOf} from '../base/errors.ts';
import type {Deadline, Millis} from '../base/time.ts';
import type {PortId} from '../native/datapath.ts';

/** How long a missing tap or bridge is left alone; changes of interfaces are looked at sooner. */
const RETRY_MS = 10_000;

export type LanState =
  /** The tap cannot be made. */
  | {readonly name: 'no-tap'; readonly error: IpopError; readonly retryAt: Millis}
  /** The tap is there, its bridge is not (or does not take it). */
  | {readonly name: 'no-bridge'; readonly port: PortId; readonly error: IpopError; readonly retryAt: Millis}
  | {readonly name: 'joined'; readonly port: PortId}
  /** The configuration names no bridge. */
  | {readonly name: 'unbridged'; readonly port: PortId};

/** What it needs of the outside. The first two throw errors that carry `errno`. */
export interface LanPortDeps {
  openTap(): PortId;
  joinBridge(port: PortId, bridge: string): void;
  /** Whether the tap's device is there under its name. */
  hasDevice(port: PortId): boolean;
  /** The tap is there (again): enable it and tell the switch. */
  onPortUp(port: PortId): void;
  /** The tap is gone: tell the switch. */
  onPortDown(port: PortId): void;
  onChange(state: LanState): void;
}

/** Keeps one tap in one bridge. */
export class LanPort {
  readonly #deps: LanPortDeps;
  readonly #names: {readonly tap: string; readonly bridge: string | undefined};
  #state: LanState | undefined;

  constructor(deps: LanPortDeps, names: {readonly tap: string; readonly bridge: string | undefined}) {
    this.#deps = deps;
    this.#names = names;
  }

  start(now: Millis): void {
    this.#attempt(now);
  }

  /** Takes the tap away. Final. */
  stop(): void {
    const {port} = this;
    this.#state = undefined;
    if (port !== undefined) this.#deps.onPortDown(port);
  }

  /** The tap's device was deleted by somebody; false: another's tap. */
  handlePortGone(port: PortId, now: Millis): boolean {
    if (this.port !== port) return false;
    this.#deps.onPortDown(port);
    this.#state = undefined;
    this.#attempt(now);
    return true;
  }

  /** Interfaces or bridges changed: what was missing may be there, what was right may be gone. */
  handleInterfacesChanged(now: Millis): void {
    this.#attempt(now);
  }

  handleTimeout(now: Millis): void {
    const deadline = this.nextTimeout();
    if (deadline && deadline.at <= now) this.#attempt(now);
  }

  nextTimeout(): Deadline | undefined {
    const state = this.#state;
    if (state?.name === 'no-tap') return {at: state.retryAt, reason: `make tap ${this.#names.tap}`};
    if (state?.name === 'no-bridge') return {at: state.retryAt, reason: `join bridge ${this.#names.bridge}`};
    return undefined;
  }

  get state(): LanState | undefined {
    return this.#state;
  }

  /** The tap's port while there is one. */
  get port(): PortId | undefined {
    return this.#state && this.#state.name !== 'no-tap' ? this.#state.port : undefined;
  }

  #attempt(now: Millis): void {
    let port = this.port;
    if (port !== undefined && !this.#deps.hasDevice(port)) {
      // Renamed by somebody, or deleted a moment ago: whoever looks for it looks for its name.
      this.#deps.onPortDown(port);
      this.#state = undefined;
      port = undefined;
    }
    if (port === undefined) {
      try {
        port = this.#deps.openTap();
      } catch (error) {
        this.#become({
          name: 'no-tap',
          error: new IpopError('no-tap', textOf(error), {cause: error}),
          retryAt: now + RETRY_MS,
        });
        return;
      }
      this.#deps.onPortUp(port);
    }
    const {bridge} = this.#names;
    if (bridge === undefined) return this.#become({name: 'unbridged', port});
    try {
      this.#deps.joinBridge(port, bridge);
      this.#become({name: 'joined', port});
    } catch (error) {
      const cause = new IpopError('no-bridge', textOf(error), {cause: error});
      this.#become({name: 'no-bridge', port, error: cause, retryAt: now + RETRY_MS});
    }
  }

  #become(state: LanState): void {
    const old = this.#state;
    const oldText = old && 'error' in old ? old.error.message : undefined;
    const newText = 'error' in state ? state.error.message : undefined;
    this.#state = state;
    if (old?.name !== state.name || oldText !== newText) this.#deps.onChange(state);
  }
}
