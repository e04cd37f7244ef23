// SPDX-License-Identifier: MIT
// Starts a node on each router and waits until each has a link to every other.

import type {PeerStatus, Status} from '../src/status/types.ts';
import {linksUp} from '../tests/lab/ipopd.ts';
import {Hopeless, until} from '../tests/lab/wait.ts';
import type {Stage} from './stage.ts';

const LINKS_MS = 60_000;
const POLL_MS = 100;

/** Resolves with the time from the first start to all links up; rejects with what each node says is missing. */
export async function startNodes(stage: Stage, tell: (state: string) => void): Promise<number> {
  const {nodes} = stage;
  const start = performance.now();
  for (const node of nodes) node.start();
  const wanted = nodes.length * (nodes.length - 1);
  let statuses: (Status | undefined)[] = [];
  const allUp = async (): Promise<boolean> => {
    const dead = nodes.find((node) => node.proc.ended !== undefined);
    if (dead !== undefined)
      throw new Hopeless(`ipopd of ${dead.name} ended: ${dead.proc.ended}\n${lastLines(dead.proc.log())}`);
    statuses = await Promise.all(nodes.map((node) => node.status()));
    const up = statuses.reduce((sum, status) => sum + (status === undefined ? 0 : linksUp(status)), 0);
    tell(
      `${up} of ${wanted} ends of links up${missing(stage, statuses)
        .map((text) => `; ${text}`)
        .join('')}`,
    );
    return up >= wanted;
  };
  try {
    await until('all links up', LINKS_MS, allUp, POLL_MS);
  } catch (error) {
    throw new Error([(error as Error).message, ...missing(stage, statuses)].join('\n'));
  }
  stage.linksMs = performance.now() - start;
  return stage.linksMs;
}

/** What keeps each node from having all its links. */
function missing(stage: Stage, statuses: readonly (Status | undefined)[]): string[] {
  return stage.nodes.flatMap((node, i) => {
    const network = statuses[i]?.networks[0];
    if (network === undefined) return [`${node.name}: no answer from ipopd yet`];
    const {state, error} = network.xmpp;
    if (state !== 'online') return [`${node.name}: XMPP ${state}${error === undefined ? '' : ` (${error.text})`}`];
    const waiting = network.peers.filter((peer) => peer.state !== 'up').map(describe);
    const unseen = stage.nodes.length - 1 - network.peers.length;
    if (unseen > 0) waiting.push(`${unseen} not seen in the room`);
    return waiting.length === 0 ? [] : [`${node.name}: ${waiting.join(', ')}`];
  });
}

function describe(peer: PeerStatus): string {
  return `${peer.name || peer.jid || peer.id.slice(0, 8)} ${peer.state}${peer.error === undefined ? '' : ` (${peer.error.text})`}`;
}

function lastLines(log: string): string {
  return log.trimEnd().split('\n').slice(-5).join('\n');
}
