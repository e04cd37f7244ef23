// SPDX-License-Identifier: MIT
// What is different between two configurations: a reload does this and nothing else.

import type {Config, NetworkConfig} from './config.ts';

/** A part of a network that can change without the others. */
export type NetworkPart = keyof typeof PARTS;

/** What each part is made of. What is in none of them changes nothing. */
const PARTS = {
  /** How it logs in, and whether it makes the room: a new session. */
  account: ({account, room}: NetworkConfig) => [account, room.owner],
  /** Where its peers are: a new session and new links. */
  room: ({room}: NetworkConfig) => room.jid,
  members: ({room}: NetworkConfig) => room.members,
  bridge: ({bridge}: NetworkConfig) => bridge,
  /** STUN and TURN. */
  servers: ({stun, turn, carriage}: NetworkConfig) => [stun, turn, carriage],
  shape: ({shape}: NetworkConfig) => shape,
} as const;

/** What a reload does about each part, for people. */
const EFFECTS: Readonly<Record<NetworkPart, string>> = {
  account: 'account: logs in anew, links stay',
  room: 'room: links of the old room are closed, the new room is entered',
  members: 'member',
  bridge: 'bridge, tap or mtu: the tap is made anew, links stay',
  servers: 'stun, turn or carriage: used from the next link try on',
  shape: 'up_kbit, down_kbit or dscp: counts at once, for links that are up too',
};

/** Options that only count at a start. */
const AT_START = {state_dir: 'stateDir', control: 'controlSocket'} as const;

export interface NetworkChange {
  readonly was: NetworkConfig;
  readonly is: NetworkConfig;
  readonly parts: ReadonlySet<NetworkPart>;
}

export interface ConfigDiff {
  readonly removed: readonly NetworkConfig[];
  readonly added: readonly NetworkConfig[];
  readonly changed: readonly NetworkChange[];
  readonly logLevel: boolean;
  readonly name: boolean;
  /** `option enabled` of the node. */
  readonly enabled: boolean;
  /** Options that changed but need a restart, as they are written. */
  readonly needRestart: readonly string[];
}

/** Networks are the same when their section has the same name. The order of lists counts, that of networks does not. */
export function diffConfig(was: Config, is: Config): ConfigDiff {
  const before = new Map(was.networks.map((network) => [network.network, network]));
  const after = new Set(is.networks.map(({network}) => network));
  const changed = is.networks.flatMap((network): NetworkChange[] => {
    const old = before.get(network.network);
    const parts = old ? partsThatDiffer(old, network) : new Set<NetworkPart>();
    return old && parts.size > 0 ? [{was: old, is: network, parts}] : [];
  });
  return {
    removed: was.networks.filter(({network}) => !after.has(network)),
    added: is.networks.filter(({network}) => !before.has(network)),
    changed,
    logLevel: was.logLevel !== is.logLevel,
    name: was.name !== is.name,
    enabled: was.enabled !== is.enabled,
    needRestart: Object.entries(AT_START).flatMap(([option, key]) => (was[key] === is[key] ? [] : [option])),
  };
}

/** One line for each change, in the words of the file; empty: nothing changed. */
export function describeDiff(diff: ConfigDiff, is: Config): string[] {
  if (!is.enabled) return ["ipop is disabled in section 'main': ipopd stops"];
  return [
    ...diff.removed.map(({network}) => `network '${network}': removed`),
    ...diff.changed.flatMap(({was, is: now, parts}) =>
      [...parts].map((part) => `network '${now.network}': ${part === 'members' ? members(was, now) : EFFECTS[part]}`),
    ),
    ...diff.added.map(({network}) => `network '${network}': added`),
    ...(diff.logLevel ? [`log_level: ${is.logLevel}`] : []),
    ...(diff.name ? [`name: ${is.name}; peers learn it with the next link`] : []),
    ...diff.needRestart.map((option) => `${option}: changed, but counts only after a restart of ipopd`),
  ];
}

function partsThatDiffer(was: NetworkConfig, is: NetworkConfig): Set<NetworkPart> {
  const names = Object.keys(PARTS) as NetworkPart[];
  // Plain values with keys in one order: their text tells whether they are equal.
  return new Set(names.filter((name) => JSON.stringify(PARTS[name](was)) !== JSON.stringify(PARTS[name](is))));
}

function members(was: NetworkConfig, is: NetworkConfig): string {
  const [old, now] = [new Set(was.room.members), new Set(is.room.members)];
  const added = [...now].filter((jid) => !old.has(jid)).length;
  const removed = [...old].filter((jid) => !now.has(jid));
  const stay = removed.length > 0 ? `; ${removed.length} no longer listed, but still members on the server` : '';
  return `member: ${added} added${is.room.owner ? '' : ' (only the owner uses it)'}${stay}`;
}
