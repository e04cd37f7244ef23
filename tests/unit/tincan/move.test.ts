// SPDX-License-Identifier: MIT
// A link moves: what the manager wants, step by step.

import test from 'ava';
import {brief, Desk, high, INFO, LOCAL, low} from './desk.ts';

const RELAYED = {...INFO, remoteType: 'relay'};
const WELL = {...INFO, silentMs: 100};

/** Up at port 7, with a peer that moves links, and rested. */
function up(desk: Desk, info = INFO): void {
  desk.checking(7, 0);
  desk.manager.handleUp(7, info, 0);
  desk.manager.handleMessage(7, desk.hello({moves: true}), 0);
  desk.infos.set(7, info);
  desk.runUntil(10_000);
  desk.take();
}

/** The offer that was begun is answered, and its native link, port 8, up. */
function offered(desk: Desk, now: number, info = INFO): void {
  desk.opened(8, now);
  desk.manager.handleLocal(8, LOCAL, now);
  desk.take();
  const answer = desk.answer();
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, now);
  desk.take();
  desk.infos.set(8, info);
  desk.manager.handleUp(8, info, now);
}

const ready = () => new TextEncoder().encode('{"type":"ready"}');

test('a peer that moved gets a new link beside the old; frames go by it once it says it is ready, and the old one closes 5 s later', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  t.deepEqual(desk.take().map(brief), ['probe-session', 'open offer']);
  t.is(desk.peer.moving, 'it moved');
  offered(desk, 10_100);
  t.deepEqual(desk.take().map(brief), ['send-message']);
  desk.manager.handleMessage(8, desk.hello({moves: true}), 10_200);
  t.deepEqual(desk.take().map(brief), ['port-beside', 'send-message']);
  t.is(desk.peer.port, 7);
  desk.manager.handleMessage(8, ready(), 10_300);
  t.deepEqual(desk.take(), [{type: 'port-replaced', peer: high.id, from: 7, to: 8}]);
  t.deepEqual([desk.peer.port, desk.peer.state, desk.peer.moving], [8, 'up', undefined]);
  desk.runUntil(15_299);
  t.deepEqual(desk.take(), []);
  desk.runUntil(15_300);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close']);
  t.deepEqual(desk.manager.ports(), [8]);
});

test('an older peer, which says nothing of ready, closes its old link: ours goes on with the new one', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.runUntil(10_000);
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  desk.opened(8, 10_000);
  desk.manager.handleLocal(8, LOCAL, 10_000);
  desk.take();
  desk.manager.handleLost(7, 'closed', 'The peer closed the link', 10_050);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close', 'probe-session', 'signal terminate closed']);
  t.is(desk.state, 'checking');
  const answer = desk.answer();
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, 10_100);
  desk.manager.handleUp(8, INFO, 10_200);
  desk.manager.handleMessage(8, desk.hello(), 10_300);
  t.deepEqual(desk.take().map(brief), ['set-remote', 'send-message', 'port-up']);
  t.is(desk.state, 'up');
});

test('an older peer whose end of the old link is not heard of is moved to as soon as it says hello', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.runUntil(10_000);
  desk.manager.handleMoved(7, 'silent', 'nothing was heard', 10_000);
  offered(desk, 10_000);
  desk.manager.handleMessage(8, desk.hello(), 10_300);
  t.deepEqual(desk.take().map(brief), ['send-message', 'port-beside', 'port-replaced']);
});

test('an offer of the peer’s same life is answered beside the link that is up', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 40_000);
  t.deepEqual(desk.take().map(brief), ['open answer']);
  t.is(desk.peer.port, 7);
  t.is(desk.peer.moving, 'the peer asked for it');
});

test('a try that fails leaves the link as it is, and is made again at the back-off', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  desk.opened(8, 10_000);
  desk.manager.handleLocal(8, LOCAL, 10_000);
  desk.take();
  desk.manager.handleLost(8, 'ice-failed', 'no candidate pair worked', 12_000);
  t.deepEqual(desk.take().map(brief), ['close', 'signal terminate ice-failed']);
  t.deepEqual([desk.state, desk.peer.port, desk.peer.error], ['up', 7, undefined]);
  t.is(desk.manager.nextTimeout()?.at, 12_450);
  desk.runUntil(12_450);
  t.deepEqual(desk.take().map(brief), ['open offer']);
});

test('the larger id leaves the smaller 2 s to offer', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  desk.manager.handleTimeout(2_000);
  desk.opened(7, 2_000);
  desk.manager.handleLocal(7, LOCAL, 2_000);
  desk.take();
  const answer = desk.answer();
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, 2_000);
  desk.manager.handleUp(7, INFO, 2_000);
  desk.manager.handleMessage(7, desk.hello({moves: true}), 2_000);
  desk.runUntil(10_000);
  desk.take();
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  t.deepEqual(desk.take().map(brief), ['probe-session']);
  desk.runUntil(12_000);
  t.deepEqual(desk.take().map(brief), ['open offer']);
});

test('a link whose own address is gone moves half a second later; other changes of interfaces do not matter', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.manager.handleInterfacesChanged(10_000);
  desk.runUntil(11_000);
  t.deepEqual(desk.take(), []);
  desk.infos.set(7, {...INFO, localGone: true});
  desk.manager.handleInterfacesChanged(11_000);
  desk.runUntil(11_499);
  t.deepEqual(desk.take().map(brief), ['probe-session']);
  desk.runUntil(11_500);
  t.deepEqual(desk.take().map(brief), ['open offer']);
  // The new address comes: an offer that does not have it is made anew.
  desk.opened(8, 11_500);
  desk.manager.handleInterfacesChanged(11_600);
  desk.runUntil(12_100);
  t.deepEqual(desk.take().map(brief), ['close', 'probe-session', 'open offer']);
});

test('a link by a relay is tried anew after 30 s, and kept when the new one goes by a relay, too', (t) => {
  const desk = new Desk(low, high, {}, () => 0);
  up(desk, RELAYED);
  desk.runUntil(29_999);
  t.deepEqual(desk.take(), []);
  desk.runUntil(30_000);
  t.deepEqual(desk.take().map(brief), ['open offer']);
  offered(desk, 30_000, RELAYED);
  desk.manager.handleMessage(8, desk.hello({moves: true}), 30_100);
  desk.runUntil(33_999);
  t.deepEqual(desk.take(), [], 'no hello: the path may still become direct');
  desk.runUntil(34_000);
  t.deepEqual(desk.take().map(brief), ['close', 'signal terminate not-better']);
  t.deepEqual([desk.state, desk.peer.port], ['up', 7]);
  t.is(desk.manager.nextTimeout()?.at, 94_000);
});

test('a new link that becomes direct a little later is taken', (t) => {
  const desk = new Desk(low, high, {}, () => 0);
  up(desk, RELAYED);
  desk.runUntil(30_000);
  offered(desk, 30_000, RELAYED);
  desk.manager.handleMessage(8, desk.hello({moves: true}), 30_100);
  desk.take();
  desk.infos.set(8, INFO);
  desk.runUntil(31_000);
  t.deepEqual(desk.take().map(brief), ['send-message', 'port-beside', 'send-message']);
  desk.manager.handleMessage(8, ready(), 31_100);
  t.is(desk.peer.path?.kind, 'direct');
});

test('a link that ICE has led past the relay by itself is not tried', (t) => {
  const desk = new Desk(low, high, {}, () => 0);
  up(desk, RELAYED);
  desk.infos.set(7, INFO);
  desk.runUntil(700_000);
  t.deepEqual(desk.take(), []);
});

test('a direct link that was silent, and is heard again, does not move to a relay', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.infos.set(7, WELL);
  desk.manager.handleMoved(7, 'silent', 'nothing was heard', 10_000);
  offered(desk, 10_000, RELAYED);
  desk.runUntil(14_000);
  t.true(desk.take().map(brief).includes('signal terminate not-better'));
});

test('a link lost while the new one waits for the peer’s ready moves at once', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  offered(desk, 10_000);
  desk.manager.handleMessage(8, desk.hello({moves: true}), 10_200);
  desk.take();
  desk.manager.handleLost(7, 'consent', 'the path is gone', 10_300);
  t.deepEqual(desk.take().map(brief), [
    'port-replaced',
    'port-down',
    'close',
    'probe-session',
    'signal terminate consent',
  ]);
  t.deepEqual([desk.state, desk.peer.port], ['up', 8]);
});

test('stopping closes what was, is and was to be', (t) => {
  const desk = new Desk(low, high);
  up(desk);
  desk.manager.handleMoved(7, 'peer-moved', 'it moved', 10_000);
  desk.opened(8, 10_000);
  desk.manager.handleLocal(8, LOCAL, 10_000);
  desk.take();
  desk.manager.stop(10_100);
  const said = desk.take().map(brief);
  t.deepEqual(said.filter((one) => one === 'close').length, 2);
  t.deepEqual(said.filter((one) => one === 'signal terminate stopping').length, 2);
  t.deepEqual(desk.manager.ports(), []);
});
