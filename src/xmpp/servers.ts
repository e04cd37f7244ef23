// SPDX-License-Identifier: MIT
// Which servers an account may be served by, and in which order they are tried: RFC 6120, 3.2; RFC 2782; XEP-0368. Decides only; who
// asks DNS is connector.ts.

export type Tls = 'direct' | 'starttls';
/** `auto`: whatever the server offers. */
export type TlsMode = 'auto' | Tls;

/** Where to connect, and how TLS begins there. */
export interface Server {
  readonly host: string;
  readonly port: number;
  readonly tls: Tls;
}

export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  /** `.`: the service is not there (RFC 2782). */
  readonly target: string;
}

/** One of the two services a client may find, and what DNS says of it. */
export interface SrvAnswer {
  readonly tls: Tls;
  readonly records: readonly SrvRecord[];
}

const DIRECT_PORT = 5223;
const STARTTLS_PORT = 5222;
/** More would keep a person waiting for minutes. */
const MAX_SERVERS = 8;

/** A server that the configuration names: without a port both usual ones, and with one only 5222 is taken for STARTTLS. */
export function namedServers({host, port}: {host: string; port: number | undefined}, mode: TlsMode): Server[] {
  if (port === undefined) return usualServers(host, mode);
  return [{host, port, tls: mode === 'auto' ? (port === STARTTLS_PORT ? 'starttls' : 'direct') : mode}];
}

/** Names of the SRV records to ask for. */
export function srvNames(domain: string, mode: TlsMode): {tls: Tls; name: string}[] {
  const names = [
    {tls: 'direct', name: `_xmpps-client._tcp.${domain}`},
    {tls: 'starttls', name: `_xmpp-client._tcp.${domain}`},
  ] as const;
  return names.filter(({tls}) => mode === 'auto' || mode === tls);
}

/**
 * The servers of a domain in the order in which to try them: both services' records are one set (XEP-0368, 3). Without any record, the domain
 * itself; a service whose only target is `.` is left out there too, so the result may be empty. `random` gives numbers in 0..1.
 */
export function orderServers(
  domain: string,
  mode: TlsMode,
  answers: readonly SrvAnswer[],
  random: () => number,
): Server[] {
  const records = answers.flatMap(({tls, records}) => records.map((record) => ({...record, tls})));
  const usable = records.filter(({target}) => target !== '.');
  if (usable.length === 0) {
    const absent = records.map(({tls}) => tls);
    return usualServers(domain, mode).filter(({tls}) => !absent.includes(tls));
  }
  const priorities = [...new Set(usable.map(({priority}) => priority))].sort((a, b) => a - b);
  const inOrder = priorities.flatMap((priority) =>
    byWeight(
      usable.filter((record) => record.priority === priority),
      random,
    ),
  );
  return inOrder.slice(0, MAX_SERVERS).map(({target, port, tls}) => ({host: target, port, tls}));
}

/** RFC 2782: one after the other is drawn, with a chance in proportion to its weight; those of weight 0 have a small one. */
function byWeight<T extends {weight: number}>(records: readonly T[], random: () => number): T[] {
  const rest = [...records].sort((a, b) => a.weight - b.weight);
  const order: T[] = [];
  while (rest.length > 0) {
    const total = rest.reduce((sum, {weight}) => sum + weight, 0);
    const drawn = Math.min(total, Math.floor(random() * (total + 1)));
    let sum = 0;
    const at = rest.findIndex(({weight}) => (sum += weight) >= drawn);
    order.push(...rest.splice(Math.max(0, at), 1));
  }
  return order;
}

function usualServers(host: string, mode: TlsMode): Server[] {
  const servers: Server[] = [
    {host, port: DIRECT_PORT, tls: 'direct'},
    {host, port: STARTTLS_PORT, tls: 'starttls'},
  ];
  return servers.filter(({tls}) => mode === 'auto' || mode === tls);
}
