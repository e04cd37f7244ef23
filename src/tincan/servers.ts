// SPDX-License-Identifier: MIT

export interface ServerLists {
  /** `stun:host:port` */
  readonly stun: readonly string[];
  /** `turn:user:password@host:port` */
  readonly turn: readonly string[];
}

/**
 * Servers for the nth try (n >= 1) with a peer: one STUN and two TURN servers, each list in rotation. libdatachannel would take
 * as many of a longer list at random, so a dead one could be hit again and again.
 */
export function chooseServers(lists: ServerLists, n: number): string[] {
  const {stun, turn} = lists;
  const chosen: string[] = [];
  const pick = (list: readonly string[], at: number) => {
    const server = list[at % Math.max(1, list.length)];
    if (server !== undefined && !chosen.includes(server)) chosen.push(server);
  };
  pick(stun, n - 1);
  pick(turn, 2 * (n - 1));
  pick(turn, 2 * (n - 1) + 1);
  return chosen;
}
