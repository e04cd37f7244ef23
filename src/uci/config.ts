// SPDX-License-Identifier: MIT
// The typed configuration: what the rest of the program sees of /etc/config/ipop. Parsed once, never checked again.

import type {LogLevel} from '../base/log.ts';
import type {LinkShape} from '../native/datapath.ts';
import {parseUci, UciError, type UciSection} from './parse.ts';
import {isComplete, Report, readSection, type Problem} from './read-section.ts';
import {MAIN, NETWORK, SECTIONS, type Values} from './schema.ts';

export interface Config {
  readonly enabled: boolean;
  /** Shown to peers, signed. */
  readonly name: string;
  /** Folder of the identity key and the boot number. */
  readonly stateDir: string;
  /** Path of the local control socket. */
  readonly controlSocket: string;
  readonly logLevel: LogLevel;
  readonly networks: readonly NetworkConfig[];
}

export interface NetworkConfig {
  /** Name of the UCI section: [a-z0-9_]+ */
  readonly network: string;
  readonly account: {
    /** Bare JID. */
    readonly jid: string;
    readonly password: string;
    /** undefined: found by DNS. Without a port both usual ones are tried. */
    readonly server: {readonly host: string; readonly port: number | undefined} | undefined;
    readonly tls: 'auto' | 'direct' | 'starttls';
    /** PEM file of the authorities to trust; undefined: the system's. */
    readonly caFile: string | undefined;
    /** SHA-256 of the only certificate to accept, 64 hex digits. */
    readonly pin: string | undefined;
  };
  readonly room: {
    /** Bare JID of the MUC room. */
    readonly jid: string;
    /** Makes and configures the room and keeps its member list. */
    readonly owner: boolean;
    /** Bare JIDs that get membership; only the owner uses it. */
    readonly members: readonly string[];
  };
  readonly bridge: {
    /** undefined: the tap joins no bridge (the system's own network configuration may do so). */
    readonly name: string | undefined;
    readonly tap: string;
    readonly mtuBytes: number;
  };
  /** auto: express where it can be. */
  readonly carriage: 'auto' | 'srtp';
  /** 0: not shaped, not marked. */
  readonly shape: LinkShape;
  /** `stun:host:port` */
  readonly stun: readonly string[];
  /** `turn:user:password@host:port`, user and password percent-encoded. */
  readonly turn: readonly string[];
}

/** What does not come from the file. */
export interface ConfigDefaults {
  /** The host's name: what a node is called that names itself nothing. */
  readonly hostName: string;
}

/**
 * Reads and checks a configuration file (libuci's format). Either all of it is good, or every problem is told at once. What is not
 * enabled may be incomplete, but not wrong.
 */
export function readConfig(
  text: string,
  file: string,
  defaults: ConfigDefaults,
): {ok: Config} | {problems: readonly Problem[]} {
  const report = new Report(file);
  try {
    const config = readSections(parseUci(text, file), report, defaults);
    return report.problems.length > 0 ? {problems: inOrder(report)} : {ok: config};
  } catch (error) {
    if (!(error instanceof UciError)) throw error;
    report.add(error.line, {}, error.text);
    return {problems: report.problems};
  }
}

function readSections(sections: readonly UciSection[], report: Report, {hostName}: ConfigDefaults): Config {
  for (const section of sections) checkType(section, report);
  const mains = sections.filter((section) => section.type === 'ipop');
  for (const second of mains.slice(1))
    report.add(second.line, {section: second}, 'is a second one of its type; only one is allowed');
  const main = readSection(mains[0] ?? {type: 'ipop', name: 'main', line: 1, options: []}, MAIN, report, true);
  const networks = readNetworks(sections, report, main.enabled);
  if (main.enabled && networks.length === 0 && report.problems.length === 0) {
    report.add(mains[0]?.line ?? 1, {}, "ipop is enabled, but no network is: add a section config network '<name>'");
  }
  return {
    enabled: main.enabled,
    name: main.name ?? (hostName.slice(0, 64) || 'unnamed'),
    stateDir: main.state_dir,
    controlSocket: main.control,
    logLevel: main.log_level,
    networks,
  };
}

/** The enabled networks that are complete (all are, where ipop is enabled), in the order of the file. */
function readNetworks(sections: readonly UciSection[], report: Report, ipopEnabled: boolean): NetworkConfig[] {
  const networks: NetworkConfig[] = [];
  for (const section of sections.filter(({type}) => type === 'network')) {
    const {name = ''} = section;
    if (!/^[a-z0-9_]+$/.test(name)) {
      report.add(section.line, {section}, `needs a name of small letters, digits and _: config network 'home'`);
    }
    const disabled = section.options.some(
      ({name: key, values}) => key === 'enabled' && NETWORK.enabled.value.parse(values[0] ?? '') === false,
    );
    const before = report.problems.length;
    const values = readSection(section, NETWORK, report, ipopEnabled && !disabled);
    if (disabled || report.problems.length > before || !isComplete(values, NETWORK)) continue;
    const network = networkOf(name, values);
    for (const other of networks) checkApart(section, network, other, report);
    networks.push(network);
  }
  return networks;
}

function networkOf(network: string, values: Values<typeof NETWORK>): NetworkConfig {
  const {jid, password, server, tls, pin, bridge} = values;
  return {
    network,
    account: {jid, password, server, tls, caFile: values.ca_file, pin},
    room: {jid: values.room, owner: values.owner, members: values.member},
    bridge: {name: bridge === 'none' ? undefined : bridge, tap: values.tap, mtuBytes: values.mtu},
    carriage: values.carriage,
    shape: {upKbit: values.up_kbit, downKbit: values.down_kbit, dscp: values.dscp},
    stun: values.stun,
    turn: values.turn,
  };
}

/** Two networks cannot share a device, an account (the server would end the session of the one that came first), nor a room. */
function checkApart(section: UciSection, network: NetworkConfig, other: NetworkConfig, report: Report): void {
  if (network.bridge.tap === other.bridge.tap) {
    report.add(
      section.line,
      {section, option: 'tap', value: network.bridge.tap},
      `is the tap of network '${other.network}' too`,
    );
  }
  if (network.account.jid === other.account.jid) {
    report.add(
      section.line,
      {section, option: 'jid', value: network.account.jid},
      `is the account of network '${other.network}' too`,
    );
  }
  if (network.room.jid === other.room.jid) {
    report.add(
      section.line,
      {section, option: 'room', value: network.room.jid},
      `is the room of network '${other.network}' too`,
    );
  }
}

function inOrder({problems}: Report): Problem[] {
  return [...problems].sort((a, b) => a.line - b.line);
}

function checkType(section: UciSection, report: Report): void {
  const spec = SECTIONS.find(({type}) => type === section.type);
  if (!spec)
    report.unknown(
      section.line,
      {section},
      section.type,
      SECTIONS.map(({type}) => type),
    );
  else if (spec.name !== undefined && section.name !== spec.name) {
    report.add(section.line, {section}, `must be named '${spec.name}': config ${spec.type} '${spec.name}'`);
  }
}

export type {Problem} from './read-section.ts';
