// SPDX-License-Identifier: MIT
// One network: a switch, its LAN port, the links to its members and the account they are met by. The cores do not know each other:
// what one of them wants of another, or of native, passes through here.

import type {Log, LogLevel} from './base/log.ts';
import {answerOf, IpopError, textOf} from './base/errors.ts';
import {type Deadline, earliest, type Millis} from './base/time.ts';
import {LanPort} from './controller/lan-port.ts';
import {Switch} from './l2switch/switch.ts';
import type {SwitchEffect} from './l2switch/types.ts';
import {NativeError, type NativeEvent, type PortId, type SwitchId} from './native/datapath.ts';
import type {Native} from './native/native.ts';
import {Budget} from './tincan/budget.ts';
import {parseJingle, writeJingle} from './tincan/jingle.ts';
import {LinkManager, type LinkManagerDeps} from './tincan/link-manager.ts';
import type {LinkEffect, OwnSignal} from './tincan/types.ts';
import type {NetworkConfig} from './uci/config.ts';
import type {NetworkPart} from './uci/diff.ts';
import {createXmppSession} from './xmpp/session.ts';
import type {Member, XmppDeps, XmppSession} from './xmpp/types.ts';
import type {XmppState} from './status/types.ts';

/** Warnings of links are mostly about what others send, who must not fill the log: so many, then one every so often. */
const LINK_WARNINGS = 20;
const LINK_WARNING_EVERY_MS = 30_000;

/** errno of an interface that is not there. */
const ENODEV = 19;
/** Another node of our identity is told of for so long after it was last noticed; it leaves a note each minute. */
const TWIN_SHOWN_MS = 180_000;

/** What a network shares with the others of this node. */
export interface NetworkDeps {
  readonly native: Native;
  readonly self: LinkManagerDeps['self'];
  readonly crypto: Pick<LinkManagerDeps, 'sign' | 'verify' | 'sha256' | 'randomBytes' | 'random'>;
  readonly xmpp: Omit<XmppDeps, 'log'>;
  readonly log: Log;
  nowMs(): Millis;
  /** Something happened outside the loop's own turn (XMPP): carry out effects and set the timer anew. */
  onActivity(): void;
  /** Link generations count on from here. */
  readonly generation?: number;
}

/** What the account is doing, as last reported. */
export interface XmppView {
  readonly state: XmppState;
  readonly error: IpopError | undefined;
  readonly retryAt: Millis | undefined;
  /** When `state` or `error` last changed. */
  readonly since: Millis;
}

export class Network {
  readonly sw: SwitchId;
  readonly fdb: Switch;
  config: NetworkConfig;
  links: LinkManager;
  lan: LanPort;
  session: XmppSession;
  readonly #deps: NetworkDeps;
  /** As the session last reported them: at most 1024. */
  readonly #members = new Map<string, Member>();
  readonly #linkWarnings: Budget;
  #xmpp: XmppView;
  #lanSince: Millis;
  #name: string;
  #twin: {readonly jid: string | undefined; readonly at: Millis} | undefined;
  /** Sessions that say goodbye still. */
  #leaving: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(deps: NetworkDeps, config: NetworkConfig) {
    this.#deps = deps;
    this.config = config;
    this.#xmpp = {state: 'offline', error: undefined, retryAt: undefined, since: deps.nowMs()};
    this.#lanSince = deps.nowMs();
    this.#linkWarnings = new Budget(LINK_WARNINGS, LINK_WARNING_EVERY_MS, deps.nowMs());
    this.sw = deps.native.openSwitch();
    this.fdb = new Switch();
    this.#name = deps.self.name;
    this.lan = this.#makeLanPort();
    this.links = this.#makeLinks(deps.generation ?? 0);
    this.session = this.#makeSession();
  }

  start(now: Millis): void {
    this.#shape();
    this.lan.start(now);
    this.session.start();
  }

  /** Gives the tap back before another network takes its name; `configure` makes it anew. */
  closeLan(): void {
    this.lan.stop();
  }

  /** Takes over a changed configuration, and touches nothing but the parts that changed. */
  configure(config: NetworkConfig, parts: ReadonlySet<NetworkPart>, now: Millis): void {
    this.config = config;
    if (parts.has('shape')) this.#shape();
    if (parts.has('servers')) this.#configureLinks();
    if (parts.has('room')) {
      // The goodbyes still go through the session that the peers know.
      this.links.stop(now);
      this.perform(now);
      this.links = this.#makeLinks(this.links.generation);
    }
    if (parts.has('room') || parts.has('account')) this.#renewSession(now);
    else if (parts.has('members')) this.session.setMembers(config.room.members);
    if (parts.has('bridge')) {
      this.lan.stop();
      this.lan = this.#makeLanPort();
      this.lan.start(now);
    }
  }

  /** The name that peers are told from the next link on. */
  rename(name: string): void {
    this.#name = name;
    this.#configureLinks();
  }

  /** When the LAN port's state last changed. */
  get lanSince(): Millis {
    return this.#lanSince;
  }

  get xmpp(): XmppView {
    return this.#xmpp;
  }

  /** The account of another node that has our identity, while there is one. */
  twin(now: Millis): {readonly jid: string; readonly agoMs: Millis} | undefined {
    if (this.#twin === undefined || now - this.#twin.at > TWIN_SHOWN_MS) return undefined;
    return {jid: this.#twin.jid ?? '', agoMs: now - this.#twin.at};
  }

  /** Takes what concerns this network; false: not its own. */
  handleEvent(event: NativeEvent, now: Millis): boolean {
    switch (event.type) {
      case 'upcall':
        if (event.sw !== this.sw) return false;
        this.fdb.handleUpcall(event.upcall, now);
        return true;
      case 'port-gone':
        return this.lan.handlePortGone(event.port, now);
      case 'link-local':
        return this.links.handleLocal(event.link, event.local, now);
      case 'link-candidate':
        return this.links.handleCandidate(event.link, event.candidate, now);
      case 'link-gathered':
        return this.links.handleGathered(event.link, now);
      case 'link-up':
        return this.links.handleUp(event.link, event.info, now);
      case 'link-lost':
        return this.links.handleLost(event.link, event.code, event.text, now);
      case 'link-moved':
        return this.links.handleMoved(event.link, event.code, event.text, now);
      case 'link-message':
        return this.links.handleMessage(event.link, event.message, now);
      case 'interfaces':
        this.lan.handleInterfacesChanged(now);
        this.links.handleInterfacesChanged(now);
        return false; // every network wants it
      case 'gap':
        this.#readAnew(now);
        return false; // every network wants it
      default:
        return false;
    }
  }

  handleTimeout(now: Millis): void {
    this.lan.handleTimeout(now);
    this.links.handleTimeout(now);
    this.fdb.handleTimeout(now);
  }

  nextTimeout(): Deadline | undefined {
    return earliest(this.lan.nextTimeout(), this.links.nextTimeout(), this.fdb.nextTimeout());
  }

  /** Carries out what the cores want, until they want nothing more. */
  perform(now: Millis): void {
    for (let round = 0; round < 100; round++) {
      const linkEffects = this.links.drain();
      for (const effect of linkEffects) this.#performLink(effect, now);
      const switchEffects = this.fdb.drain();
      for (const effect of switchEffects) this.#performSwitch(effect, now);
      if (linkEffects.length + switchEffects.length === 0) return;
    }
    this.#log('error', 'daemon', 'the cores still want something after 100 rounds; going on next turn');
  }

  /** Says goodbye to peers and server, and closes everything; at most 2 s. */
  async stop(now: Millis): Promise<void> {
    this.#stopped = true;
    this.links.stop(now);
    this.perform(now);
    await Promise.all([this.#leaving, this.session.stop()]);
    this.#deps.native.closeSwitch(this.sw);
  }

  #performLink(effect: LinkEffect, now: Millis): void {
    const {native} = this.#deps;
    switch (effect.type) {
      case 'open':
        try {
          this.links.handleOpened(effect.key, native.openLink(this.sw, effect.role, effect.servers), now);
        } catch (error) {
          this.links.handleOpenFailed(effect.key, new IpopError('open-failed', textOf(error), {cause: error}), now);
        }
        return;
      case 'set-remote':
        return this.#try(() => native.setRemote(effect.port, effect.remote));
      case 'add-candidate':
        return this.#try(() => native.addCandidate(effect.port, effect.candidate));
      case 'send-message':
        return this.#try(() => native.sendMessage(effect.port, effect.message));
      case 'express':
        return this.#try(() => native.startExpress(effect.port, this.#deps.self.id, effect.peer, effect.generation));
      case 'close':
        return this.#try(() => native.closeLink(effect.port));
      case 'signal':
        return this.#sendSignal(effect.to, effect.signal);
      case 'port-up':
        this.#try(() => native.enablePort(effect.port, true));
        return this.fdb.handlePortUp(effect.port, 'link', now);
      case 'port-beside':
        return this.#try(() => {
          native.standIn(effect.port, effect.of);
          native.enablePort(effect.port, true);
        });
      case 'port-replaced':
        this.#try(() => native.standIn(effect.from, effect.to));
        return this.fdb.handlePortReplaced(effect.from, effect.to, now);
      case 'port-down':
        return this.fdb.handlePortDown(effect.port, now);
      case 'probe-session':
        return this.session.probe();
    }
  }

  #performSwitch(effect: SwitchEffect, now: Millis): void {
    const {native} = this.#deps;
    switch (effect.type) {
      case 'set-rule':
        return this.#try(() => native.setRule(this.sw, effect.mac, effect.vlan, effect.out));
      case 'delete-rule':
        return this.#try(() => native.deleteRule(this.sw, effect.mac, effect.vlan));
      case 'flush-rules':
        return this.#try(() => native.flushRules(this.sw, effect.port));
      case 'finish-upcall':
        return this.#try(() => native.finishUpcall(this.sw, effect.id, effect.out));
      case 'dump-rules':
        return this.fdb.handleRules(native.dumpRules(this.sw), now);
    }
  }

  /** After lost records: what would not be told a second time is asked for. */
  #readAnew(now: Millis): void {
    const {native} = this.#deps;
    const {port} = this.lan;
    this.fdb.handleGap(now);
    this.links.handleGap((link) => answerOf(() => native.linkInfo(link).state !== 'lost') !== true, now);
    if (port !== undefined && answerOf(() => native.portCounters(port)) === undefined)
      this.lan.handlePortGone(port, now);
    else this.lan.handleInterfacesChanged(now);
  }

  /** A call that may fail because its object has just gone: its end is reported by an event of its own. */
  #try(call: () => unknown): void {
    try {
      call();
    } catch (error) {
      this.#log('debug', 'native', textOf(error));
    }
  }

  #sendSignal(to: string, signal: OwnSignal): void {
    this.session.sendJingle(to, writeJingle(signal)).catch((error: unknown) => {
      const cause = error instanceof IpopError ? error : new IpopError('signal-failed', textOf(error));
      this.links.handleSignalFailed(to, signal, cause, this.#deps.nowMs());
      this.#deps.onActivity();
    });
  }

  #makeLanPort(): LanPort {
    const {native, nowMs} = this.#deps;
    const {tap, mtuBytes, name: bridge} = this.config.bridge;
    return new LanPort(
      {
        openTap: () => native.openTap(this.sw, tap, mtuBytes),
        joinBridge: (port, name) => native.joinBridge(port, name),
        hasDevice: (port) => this.#hasDevice(port),
        onPortUp: (port: PortId) => {
          native.enablePort(port, true);
          this.fdb.handlePortUp(port, 'lan', nowMs());
        },
        onPortDown: (port) => {
          this.fdb.handlePortDown(port, nowMs());
          // Its device is gone, its handle and descriptors are not.
          this.#try(() => native.closePort(port));
        },
        onChange: (state) => {
          this.#lanSince = nowMs();
          if ('error' in state) this.#log('warning', 'bridge', state.error.message);
          else
            this.#log(
              'info',
              'bridge',
              state.name === 'joined' ? `tap ${tap} is in bridge ${bridge}` : `tap ${tap} is up`,
            );
        },
      },
      {tap, bridge},
    );
  }

  #makeLinks(generation: number): LinkManager {
    const {native, crypto, self} = this.#deps;
    const {room, stun, turn, carriage} = this.config;
    const deps: LinkManagerDeps = {
      ...crypto,
      self: {...self, name: this.#name},
      network: room.jid,
      servers: {stun, turn},
      carriage,
      isOverlay: (address) => this.#isOverlay(address),
      infoOf: (port) => answerOf(() => native.linkInfo(port)),
      log: (level, text) => this.#logLink(level, text),
    };
    return new LinkManager(deps, {generation});
  }

  #hasDevice(port: PortId): boolean {
    try {
      this.#deps.native.bridgeOf(port);
      return true;
    } catch (error) {
      // Anything else says nothing about the device.
      return !(error instanceof NativeError && error.errno === ENODEV);
    }
  }

  /** An address that cannot be judged just now is not used: a link inside another one would never end. */
  #isOverlay(address: string): boolean {
    try {
      return this.#deps.native.addressOverlay(address);
    } catch (error) {
      this.#logLink('warning', `address ${address} is not used: ${textOf(error)}`);
      return true;
    }
  }

  /** Native keeps it for links to come. */
  #shape(): void {
    this.#try(() => this.#deps.native.shapeLinks(this.sw, this.config.shape));
  }

  #configureLinks(): void {
    const {stun, turn, carriage} = this.config;
    this.links.configure({name: this.#name, servers: {stun, turn}, carriage});
  }

  /** Another session, begun when the old one has said goodbye: they may share an account. Links stay, as they do in an outage. */
  #renewSession(now: Millis): void {
    const old = this.session;
    const session = this.#makeSession();
    this.session = session;
    this.#members.clear();
    this.#twin = undefined;
    this.links.handleSessionOffline(now);
    this.#xmpp = {state: 'offline', error: undefined, retryAt: undefined, since: now};
    this.#leaving = Promise.all([this.#leaving, old.stop()]).then(() => {
      if (this.session === session && !this.#stopped) session.start();
    });
  }

  #makeSession(): XmppSession {
    const {self, xmpp, nowMs, onActivity} = this.#deps;
    const {account, room} = this.config;
    const isCurrent = () => this.session === session;
    const session: XmppSession = createXmppSession(
      {...xmpp, log: (level, text) => this.#log(level, 'xmpp', text)},
      {
        ...account,
        resource: `ipop-${self.id.slice(0, 16)}`,
        room: room.jid,
        nick: self.id,
        owner: room.owner,
        members: room.members,
      },
      {
        onState: (state, error, retryAt) => {
          if (!isCurrent()) return;
          const was = this.#xmpp.state;
          this.#xmpp = {state, error, retryAt, since: nowMs()};
          if (state !== was) this.#handleReach(was, state, nowMs());
          onActivity();
        },
        onMemberOnline: (member) => {
          if (!isCurrent()) return;
          this.#members.set(member.id, member);
          this.links.handleMemberOnline(member, nowMs());
          onActivity();
        },
        onMemberOffline: (id) => {
          if (!isCurrent()) return;
          this.#members.delete(id);
          this.links.handleMemberOffline(id, nowMs());
          onActivity();
        },
        onTwin: (jid) => {
          if (isCurrent()) this.#onTwin(jid, nowMs());
        },
        onJingle: (from, jingle) => {
          if (!isCurrent()) return;
          try {
            this.links.handleSignal(from, parseJingle(jingle), nowMs());
          } catch (error) {
            this.#logLink('warning', `signal from ${from} refused: ${textOf(error)}`);
          }
          onActivity();
        },
      },
    );
    return session;
  }

  #onTwin(jid: string | undefined, now: Millis): void {
    const account = jid?.split('/')[0];
    if (!this.twin(now))
      this.#log('error', 'xmpp', `another node has this one's identity: ${account ?? 'account unknown'}`);
    this.#twin = {jid: account ?? this.#twin?.jid, at: now};
  }

  /** Without a session nobody can be signalled, so tries would be in vain; once it is back, everybody still in the room is tried at once. */
  #handleReach(was: XmppState, is: XmppState, now: Millis): void {
    if (was === 'online') this.links.handleSessionOffline(now);
    if (is === 'online') for (const member of this.#members.values()) this.links.handleMemberOnline(member, now);
  }

  #logLink(level: LogLevel, text: string): void {
    const mayWarn = level !== 'warning' || this.#linkWarnings.take(this.#deps.nowMs());
    this.#log(mayWarn ? level : 'debug', 'link', text);
  }

  #log(level: LogLevel, component: string, text: string): void {
    this.#deps.log(level, `${this.config.network} ${component}`, text);
  }
}
