// SPDX-License-Identifier: MIT
// The sites, drawn side by side under the internet, and the links between them.

import {Internet} from '../tests/lab/internet.ts';
import type {NatKind} from '../tests/lab/nat.ts';
import type {Site} from '../tests/lab/site.ts';
import type {NatBehaviour, NatClass} from '../tests/lab/stun.ts';
import {bold, cyan, dim, green, pad, table, widthOf, yellow} from './screen.ts';
import type {PairFigures} from './stage.ts';

const BOX = 32;
const GAP = ' ';

const RULES: Readonly<Record<NatKind, string>> = {
  'port-restricted': 'masquerade',
  symmetric: 'masquerade fully-random',
  'full-cone': 'masquerade, used ports open',
  'udp-blocked': 'masquerade, no UDP',
};

/** Draws internet and sites, with the class of NAT that was measured at each. */
export function drawSites(sites: readonly Site[], nats: ReadonlyMap<string, NatClass>): string {
  const width = sites.length * BOX + (sites.length - 1) * GAP.length;
  const stem = row(sites.map(() => centre('│', BOX)));
  const publics = row(sites.map((site) => centre(cyan(site.publicAddress), BOX)));
  const cloud = [
    `╭${centre(' internet ', width - 2, '─')}╮`,
    `│${centre(`${Internet.SERVER}   Prosody (XMPP over TLS), coturn (STUN, TURN)`, width - 2)}│`,
    `╰${row(
      sites.map(() => centre('┬', BOX, '─')),
      '─',
    ).slice(1, -1)}╯`,
  ];
  const boxes = sites.map((site) => drawSite(site, nats.get(site.name)));
  const height = Math.max(...boxes.map((box) => box.length));
  const grown = boxes.map((box) => [...Array.from({length: height - box.length}, () => centre('│', BOX)), ...box]);
  const lines = Array.from({length: height}, (_, i) => row(grown.map((box) => box[i] ?? '')));
  return [...cloud, publics, stem, ...lines].map((line) => `  ${line}`).join('\n');
}

function drawSite(site: Site, nat: NatClass | undefined): string[] {
  const {nat: kind, carrier} = site.options;
  const carrierBox =
    carrier === undefined ? [] : [...frame(dim('carrier (CGNAT)'), [RULES[carrier]]), centre('│', BOX)];
  const hosts = site.hosts.map((host) => `${host.name.split('-').at(-1)}   ${host.address}`);
  return [
    ...carrierBox,
    ...frame(bold(site.name), [
      `wan  ${site.wanAddress}`,
      `NAT  ${RULES[kind]}`,
      `maps ${plain(nat?.mapping, 'port')}`,
      `lets ${plain(nat?.filtering, 'who')}`,
      `LAN  ${site.lanAddress} (br-lan)`,
      ...hosts,
    ]),
  ];
}

/** RFC 5780's words in ours. */
function plain(behaviour: NatBehaviour | undefined, what: 'port' | 'who'): string {
  if (behaviour === undefined || behaviour === 'unknown') return '?';
  if (behaviour === 'udp-blocked') return 'no UDP';
  const words = {
    port: {
      'endpoint-independent': 'one port for all',
      'address-dependent': 'a port per address',
      'address-and-port-dependent': 'a port per destination',
    },
    who: {
      'endpoint-independent': 'everybody in',
      'address-dependent': 'asked addresses in',
      'address-and-port-dependent': 'asked ports in',
    },
  };
  return words[what][behaviour];
}

/** The classes in RFC 4787's words, and what the server saw of the socket they were measured with. */
export function natTable(sites: readonly Site[], nats: ReadonlyMap<string, NatClass>): string {
  const rows = sites.map((site) => {
    const nat = nats.get(site.name);
    return [site.name, nat?.mapping ?? '?', nat?.filtering ?? '?', nat?.mapped ?? '-'];
  });
  return table(['SITE', 'MAPPING', 'FILTERING', 'ITS SOCKET SEEN FROM OUTSIDE'], rows);
}

/** One line for each pair: how its link went over the internet. */
export function drawLinks(pairs: readonly PairFigures[]): string {
  const widest = Math.max(...pairs.map(({a, b}) => Math.max(a.length, b.length)));
  return pairs
    .map(({a, b, crossing}) => {
      const direct = crossing.kind === 'direct';
      const line = direct
        ? green('━━━━━━━━ direct ━━━━━━━━')
        : yellow(`┄┄┄┄┄┄┄┄ ${crossing.kind.padEnd(6, ' ')} ┄┄┄┄┄┄┄┄`);
      return `  ${pad(a, widest)} ${line} ${pad(b, widest)}   ${dim(crossing.by)}`;
    })
    .join('\n');
}

function frame(title: string, lines: readonly string[]): string[] {
  const inner = BOX - 4;
  const top = `┌─ ${title} ${'─'.repeat(Math.max(0, BOX - 5 - widthOf(title)))}┐`;
  return [top, ...lines.map((line) => `│ ${pad(line, inner)} │`), `└${'─'.repeat(BOX - 2)}┘`];
}

function row(cells: readonly string[], gap = GAP): string {
  return cells.join(gap);
}

function centre(text: string, width: number, fill = ' '): string {
  const left = Math.floor((width - widthOf(text)) / 2);
  return fill.repeat(Math.max(0, left)) + text + fill.repeat(Math.max(0, width - widthOf(text) - left));
}
