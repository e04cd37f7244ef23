// SPDX-License-Identifier: MIT
// Faults of what is said: a room member that sends nonsense and lies, and a server that breaks its XML. Nothing else breaks.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1
//                                       |
//                        server host (Prosody, coturn); [ cabin ] masquerade: the rogue member

import {fileURLToPath} from 'node:url';
import {Internet} from '../lab/internet.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import type {Proc} from '../lab/proc.ts';
import {until} from '../lab/wait.ts';
import {CERTIFICATE_NAMES} from '../lab/xmpp-server.ts';
import {endWith, healthItem, labTest, networkOf, startAll, timesUp, TWO_SITES, untilStatus, worldOf} from './kit.ts';
import {PingStream} from './ping-stream.ts';
import type {RogueOptions} from './rogue.ts';

const ONLINE_MS = 15_000;
/** To read the megabyte of an element that never ends takes the interpreter 3 s of a CPU that is its own, and others want it, too. */
const BROKEN_MS = 45_000;
const world = worldOf(import.meta.filename, [
  ...TWO_SITES,
  {name: 'cabin', index: 2, nat: 'port-restricted', hosts: 0},
]);

function program(name: string, ...args: readonly string[]): string[] {
  return [process.execPath, '--import', 'tsx', fileURLToPath(new URL(`${name}.ts`, import.meta.url)), ...args];
}

/** Office and boat, linked, a ping between them; `extra`: options of both. */
async function pair(t: Parameters<typeof endWith>[0], room: string, options: Readonly<Record<string, string>> = {}) {
  const accounts = groupOf(world(), `${room}@conference.example.org`).slice(0, 2);
  const nodes = endWith(
    t,
    accounts.map((node) => new IpopNode(world(), node.site, {...node.options, options})),
  );
  await startAll(nodes);
  const [from, to] = nodes.map((node) => node.site.hosts[0]!);
  return {nodes, office: nodes[0]!, stream: await PingStream.start(from!.ns, to!.address), ups: nodes.map(timesUp)};
}

class Rogue {
  readonly #proc: Proc;
  readonly target: string;
  id = '';

  constructor(proc: Proc, target: string) {
    this.#proc = proc;
    this.target = target;
  }

  static async join(target: IpopNode): Promise<Rogue> {
    const {xmpp, authority} = world();
    const [host = '', port = ''] = xmpp.address.split(':');
    const jid = xmpp.addAccount('cabin', 'cabin-secret');
    const {room} = target.options;
    const options: RogueOptions = {
      jid,
      password: 'cabin-secret',
      host,
      port: Number(port),
      caFile: authority.caFile,
      room,
    };
    const argv = program('rogue', JSON.stringify(options));
    const proc = world().site('cabin').router.spawn(`rogue-${serial++}`, argv, {input: true});
    const id = (await target.status())?.node.id ?? '';
    const rogue = new Rogue(proc, id);
    rogue.id = (await proc.waitLog(/^online (\w+)/m, ONLINE_MS))[1]!;
    await proc.waitLog(new RegExp(`^member ${id}`, 'm'), ONLINE_MS);
    return rogue;
  }

  /** Sends one; what comes of it is for others to tell. */
  say(kind: string): void {
    this.#proc.write(`${kind} ${this.target}`);
  }

  /** Sends one and waits until the target has answered it. */
  async send(kind: string): Promise<void> {
    const mark = this.#proc.log().length;
    this.say(kind);
    await until(`an answer to ${kind}`, ONLINE_MS + 5_000, () => {
      return new RegExp(`^(?:sent|failed) ${kind}\\b`, 'm').test(this.#proc.log().slice(mark));
    });
  }

  log(): string {
    return this.#proc.log();
  }

  async end(): Promise<void> {
    await this.#proc.kill();
  }
}

/** Kinds that are refused while they are read; what the log says of each. */
const MALFORMED: readonly (readonly [string, RegExp])[] = [
  ['no-sid', /Cannot read the signal: sid is missing/],
  ['unknown-action', /Cannot read the signal: action is/],
  ['no-content', /Cannot read the signal: content in jingle is missing or not once/],
  ['two-contents', /Cannot read the signal: content in jingle is missing or not once/],
  ['garbage-attributes', /Cannot read the signal: (boot|from) is/],
  ['escape-in-name', /Cannot read the signal: name is "\?office/],
  ['huge-generation', /Cannot read the signal: generation is/],
  ['giant-value', /Cannot read the signal: ufrag is "a{40}"/],
  ['wide', /Cannot read the signal: children of jingle is "2001"/],
  ['garbage-candidate', /Cannot read the signal: candidate is/],
  ['deep', /iq.*(too large|too deep|larger|deeper|dropped)/i],
  ['giant-stanza', /iq.*(too large|too deep|larger|deeper|dropped)/i],
];

/** Kinds that claim what they cannot prove; what status says of each. */
const LIES: readonly (readonly [string, RegExp])[] = [
  ['wrong-recipient', /it is for node ffffffff/],
  ['not-the-sender', /it says it is from node ffffffff, but [0-9a-f]{8} sent it/],
  ['key-mismatch', /its key is not that of the node/],
  ['bad-signature', /its signature is wrong/],
  ['wrong-network', /it is for room "elsewhere@conference\.example\.org"/],
];

labTest('nonsense from a room member is refused in words, and another link loses nothing', async (t) => {
  const {nodes, office, stream, ups} = await pair(t, 'nonsense');
  const rogue = await Rogue.join(office);
  for (const [kind, words] of MALFORMED) {
    const mark = office.proc.log().length;
    rogue.say(kind); // what is too large gets no answer
    const [line] = await until(
      `words on ${kind}`,
      5_000,
      () => words.exec(office.proc.log().slice(mark)) ?? undefined,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${office.proc.log().slice(mark)}`);
    });
    t.true(line.length < 400);
  }
  t.deepEqual(await stream.stop(), [], 'pings lost');
  t.deepEqual(nodes.map(timesUp), ups, 'no link was made anew');
  t.is((await networkOf(office)).xmpp.state, 'online');
  await rogue.end();
});

labTest(
  'lies of a room member are refused and shown in status with a code, and another link loses nothing',
  async (t) => {
    const {nodes, office, stream, ups} = await pair(t, 'lies');
    const rogue = await Rogue.join(office);
    const expectRefusal = async (kind: string, code: string, words: RegExp): Promise<void> => {
      await rogue.send(kind);
      const {network, status} = await untilStatus(office, kind, 5_000, ({peers}) =>
        peers.some(({id, error}) => id === rogue.id && error?.code === code && words.test(error.text)),
      );
      t.is(network.peers.filter(({id}) => id === rogue.id).length, 1);
      t.regex(healthItem(status, 'signature-refused')?.text ?? '', words);
      await until(`the refusal of ${kind} at its sender`, 5_000, () =>
        new RegExp(`^jingle ${rogue.target} session-terminate ${code} `, 'm').test(rogue.log()),
      );
    };
    for (const [kind, words] of LIES) await expectRefusal(kind, kind, words);
    t.is((await office.ipop('status')).code, 2);
    t.regex((await office.ipop('status')).stdout, /! signature-refused {3}/);
    // After a right one only a later one counts.
    await until('an answer to a right offer', 25_000, async () => {
      // An offer of the target's own may stand in its way.
      await rogue.send('end-offer');
      await rogue.send('good');
      const accepted = (): boolean => rogue.log().includes(`jingle ${rogue.target} session-accept`);
      return await until('session-accept', 2_000, accepted);
    });
    await expectRefusal('old-generation', 'old-generation', /2000000000\/\d+ is not after 2000000000\/\d+/);
    await expectRefusal('old-boot', 'old-generation', /5\/\d+ is not after 2000000000\/\d+/);
    await rogue.send('unasked-answer');
    await until('its refusal', 5_000, () => rogue.log().includes(`session-terminate unknown-session`));
    t.deepEqual(await stream.stop(), [], 'pings lost');
    t.deepEqual(nodes.map(timesUp), ups, 'no link was made anew');
    await rogue.end();
  },
);

const BROKEN: readonly (readonly [string, string])[] = [
  ['text between stanzas', 'hello there<presence/>'],
  ['tags that do not match', '<message><body></message>'],
  ['bytes that are no XML', '\x00\x01\xff\xfe<<<>>>'],
  ['an end of what was never begun', '</nothing>'],
  ['an element that never ends', `<message><body>${'a'.repeat(1_500_000)}`],
  [
    'a stream error',
    "<stream:error><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
  ],
  ['the end of the stream', '</stream:stream>'],
];

labTest('a server that breaks its XML is left and joined again each time, and the links stay', async (t) => {
  const {certFile, keyFile} = world().authority.issue('proxy', CERTIFICATE_NAMES);
  const [host = '', port = ''] = world().xmpp.address.split(':');
  const proxy = world().internet.server.spawn(
    'xml-proxy',
    program('xml-proxy', '5999', host, port, certFile, keyFile),
    {input: true},
  );
  await proxy.waitLog(/listening/, 10_000);
  const {nodes, office, stream, ups} = await pair(t, 'broken', {server: `${Internet.SERVER}:5999`});
  for (const [what, text] of BROKEN) {
    const marks = nodes.map((node) => node.proc.log().length);
    proxy.write(JSON.stringify(text));
    for (const [i, node] of nodes.entries()) {
      await until(`${node.name} to log in again after ${what}`, BROKEN_MS, () =>
        /logged in as|resumed as/.test(node.proc.log().slice(marks[i])),
      );
      await untilStatus(node, `online after ${what}`, ONLINE_MS, ({xmpp, peers}) => {
        return xmpp.state === 'online' && peers.every(({present}) => present);
      });
    }
    const said = office.proc
      .log()
      .slice(marks[0])
      .split('\n')
      .filter((line) => line.includes(' xmpp: '));
    t.log(`${what}: ${said[0]}`);
  }
  t.deepEqual(await stream.stop(), [], 'pings lost');
  t.deepEqual(nodes.map(timesUp), ups, 'no link was made anew');
  for (const node of nodes) t.is((await node.ipop('status')).code, 0);
  await proxy.kill();
});

let serial = 0;
