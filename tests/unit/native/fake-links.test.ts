// SPDX-License-Identifier: MIT
import test, {type ExecutionContext} from 'ava';
import {utf8} from '../../../src/base/bytes.ts';
import {
  NativeError,
  OUT_FLOOD,
  type LinkDescription,
  type NativeEvent,
  type PortId,
} from '../../../src/native/datapath.ts';
import {FakeDatapath} from '../../../src/native/fake.ts';
import {FakeWire} from '../../../src/native/fake-wire.ts';
import {BROADCAST, plain} from '../../contract/frames.ts';

const A = '02000000000a';

class World {
  now = 0;
  readonly wire: FakeWire;
  readonly left: FakeDatapath;
  readonly right: FakeDatapath;
  readonly leftSwitch: number;
  readonly rightSwitch: number;

  constructor(latencyMs = 0) {
    const nowMs = (): number => this.now;
    this.wire = new FakeWire({nowMs, latencyMs, connectTimeoutMs: 20_000});
    this.left = new FakeDatapath({nowMs, wire: this.wire, node: 'left'});
    this.right = new FakeDatapath({nowMs, wire: this.wire, node: 'right'});
    this.leftSwitch = this.left.openSwitch();
    this.rightSwitch = this.right.openSwitch();
  }

  /** Offer and answer as two nodes exchange them; `tamper` changes what the offerer gets. */
  connect(tamper: (answer: LinkDescription) => LinkDescription = (answer) => answer): {
    offerer: PortId;
    answerer: PortId;
  } {
    const offerer = this.left.openLink(this.leftSwitch, 'offer', []);
    const answerer = this.right.openLink(this.rightSwitch, 'answer', []);
    const offer = described(this.left.drain());
    this.right.setRemote(answerer, offer.local);
    const answer = described(this.right.drain());
    this.left.setRemote(offerer, tamper(answer.local));
    this.left.addCandidate(offerer, answer.candidate);
    return {offerer, answerer};
  }
}

function described(events: readonly NativeEvent[]): {local: LinkDescription; candidate: string} {
  const local = events.find((event) => event.type === 'link-local');
  const candidate = events.find((event) => event.type === 'link-candidate');
  if (!local || !candidate || !events.some((event) => event.type === 'link-gathered')) throw new Error('not gathered');
  return {local: local.local, candidate: candidate.candidate};
}

const types = (events: readonly NativeEvent[]): string[] => events.map((event) => event.type);

test('two links meet by their descriptions and carry messages both ways', (t) => {
  const world = new World();
  const {offerer, answerer} = world.connect();
  t.deepEqual(types(world.left.drain()), ['link-up']);
  t.deepEqual(types(world.right.drain()), ['link-up']);
  world.left.sendMessage(offerer, utf8('hello'));
  world.right.sendMessage(answerer, utf8('and back'));
  t.deepEqual(world.right.drain(), [{type: 'link-message', link: answerer, message: utf8('hello')}]);
  t.deepEqual(world.left.drain(), [{type: 'link-message', link: offerer, message: utf8('and back')}]);
  t.is(world.left.linkInfo(offerer).remote, world.right.linkInfo(answerer).local);
});

test('a frame flooded into a link comes into the other switch, as from a link', (t) => {
  const world = new World();
  const {offerer, answerer} = world.connect();
  world.left.enablePort(offerer, true);
  world.right.enablePort(answerer, true);
  const lan = world.left.openTap(world.leftSwitch, 'ipop0', 1500);
  world.left.enablePort(lan, true);
  world.left.setRule(world.leftSwitch, A, 0, lan);
  world.left.setRule(world.leftSwitch, BROADCAST, 0, OUT_FLOOD);
  world.right.drain();
  const frame = plain(BROADCAST, A);
  world.left.writeMemory(lan, frame);
  t.like(world.right.drain()[0], {type: 'upcall', upcall: {port: answerer, miss: 'source', head: frame}});
  t.is(world.right.portCounters(answerer).rxFrames, 1);
});

test('a frame for a link that is not up is counted there', (t) => {
  const world = new World();
  const link = world.left.openLink(world.leftSwitch, 'offer', []);
  const lan = world.left.openMemory(world.leftSwitch, false);
  for (const port of [link, lan]) world.left.enablePort(port, true);
  world.left.setRule(world.leftSwitch, A, 0, lan);
  world.left.setRule(world.leftSwitch, BROADCAST, 0, OUT_FLOOD);
  world.left.writeMemory(lan, plain(BROADCAST, A));
  t.deepEqual(world.left.portCounters(link).drops, {'link-closed': 1});
  t.throws(() => world.left.sendMessage(link, utf8('x')), {instanceOf: NativeError, message: 'the link is not open'});
});

test('latency delays what is on the way, in order', (t) => {
  const world = new World(30);
  const {offerer} = world.connect();
  t.is(world.wire.nextTimeout()?.at, 30);
  world.now = 30;
  world.wire.handleTimeout(30);
  world.right.drain();
  for (const text of ['1', '2']) world.left.sendMessage(offerer, utf8(text));
  world.wire.handleTimeout(59);
  t.deepEqual(world.right.drain(), []);
  world.now = 60;
  world.wire.handleTimeout(60);
  t.deepEqual(
    world.right.drain().map((event) => event.type === 'link-message' && event.message),
    [utf8('1'), utf8('2')],
  );
});

function codes(events: readonly NativeEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'link-lost' ? [event.code] : []));
}

test('a certificate that is not the signed one ends the link on both sides', (t) => {
  const world = new World();
  world.connect((answer) => ({...answer, fingerprint: answer.fingerprint.replace(/^../, 'EE')}));
  t.deepEqual(codes(world.left.drain()), ['fingerprint']);
  t.deepEqual(codes(world.right.drain()), ['dtls-failed']);
});

test('a wrong password never connects, and fails in time', (t) => {
  const world = new World();
  world.connect((answer) => ({...answer, pwd: 'another-password-of-22-characters'}));
  t.deepEqual([...world.left.drain(), ...world.right.drain()], []);
  t.is(world.wire.nextTimeout()?.at, 20_000);
  world.wire.handleTimeout(20_000);
  t.deepEqual([...codes(world.left.drain()), ...codes(world.right.drain())], ['ice-failed', 'ice-failed']);
  t.is(world.wire.nextTimeout(), undefined);
});

test('without any candidate nothing connects', (t) => {
  const world = new World();
  const offerer = world.left.openLink(world.leftSwitch, 'offer', []);
  const answerer = world.right.openLink(world.rightSwitch, 'answer', []);
  const offer = described(world.left.drain());
  world.right.setRemote(answerer, offer.local);
  world.left.setRemote(offerer, described(world.right.drain()).local);
  t.deepEqual(world.left.drain(), []);
  world.right.addCandidate(answerer, offer.candidate);
  t.deepEqual(types(world.left.drain()), ['link-up']);
});

test('closing one end is heard at the other, whose rules are gone by then', (t) => {
  const world = new World();
  const {offerer, answerer} = world.connect();
  world.right.setRule(world.rightSwitch, A, 0, answerer);
  world.right.drain();
  world.left.closeLink(offerer);
  t.deepEqual(codes(world.right.drain()), ['closed']);
  t.deepEqual(world.right.dumpRules(world.rightSwitch), []);
  world.right.closeLink(answerer);
  t.throws(() => world.right.closeLink(answerer), {instanceOf: NativeError});
});

test('a cut between nodes loses their links and lets none through until it is mended', (t) => {
  const world = new World();
  world.connect();
  world.left.drain();
  world.right.drain();
  world.wire.cut('left', 'right');
  t.deepEqual([codes(world.left.drain()), codes(world.right.drain())], [['silent'], ['silent']]);
  world.connect();
  t.deepEqual(types([...world.left.drain(), ...world.right.drain()]), []);
  world.wire.mend('right', 'left');
  t.deepEqual(types([...world.left.drain(), ...world.right.drain()]), ['link-up', 'link-up']);
});

function refused(t: ExecutionContext, run: () => unknown, errno: number): void {
  t.is(t.throws(run, {instanceOf: NativeError})?.errno, errno);
}

test('a tap needs a name of its own, and can be deleted by somebody', (t) => {
  const {left, leftSwitch, right, rightSwitch} = new World();
  const tap = left.openTap(leftSwitch, 'ipop0', 1500);
  refused(t, () => left.openTap(leftSwitch, 'ipop0', 1500), 16);
  refused(t, () => left.openTap(leftSwitch, 'a/b', 1500), 22);
  t.notThrows(() => right.openTap(rightSwitch, 'ipop0', 1500));
  left.setRule(leftSwitch, A, 0, tap);
  left.deleteTap(tap);
  t.deepEqual(types(left.drain()), ['port-gone']);
  t.deepEqual(left.dumpRules(leftSwitch), []);
  t.notThrows(() => left.openTap(leftSwitch, 'ipop0', 1500));
});

test('a full event queue loses events and tells of a gap before the next one', (t) => {
  const {left, leftSwitch} = new World();
  for (let i = 0; i < 1400; i++) {
    const links = [left.openLink(leftSwitch, 'offer', [])];
    links.forEach((link) => left.closeLink(link));
  }
  t.is(left.drain().length, 4096);
  left.openLink(leftSwitch, 'offer', []);
  t.deepEqual(left.drain()[0], {type: 'gap', missed: 1400 * 3 - 4096});
});
