// SPDX-License-Identifier: MIT
import test from 'ava';
import {utf8} from '../../../src/base/bytes.ts';
import {IpopError} from '../../../src/base/errors.ts';
import type {LinkEffect, Signal, SignedDescription} from '../../../src/tincan/types.ts';
import {brief, Desk, high, HOST, INFO, JID, LOCAL, low} from './desk.ts';

test('the smaller id offers at once, then its candidates follow', (t) => {
  const desk = new Desk(low, high);
  desk.online(0);
  t.deepEqual(desk.take().map(brief), ['open offer']);
  desk.opened(7, 0);
  desk.manager.handleCandidate(7, HOST, 4);
  desk.manager.handleLocal(7, LOCAL, 5);
  desk.manager.handleCandidate(7, HOST, 6);
  desk.manager.handleCandidate(7, HOST.replace('192.0.2.2', '10.9.0.1'), 6);
  t.deepEqual(desk.take().map(brief), ['signal offer', 'signal candidate']);
  t.is(desk.state, 'checking');
});

test('the larger id waits 2 s for the offer, then offers itself', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  t.deepEqual(desk.take(), []);
  t.is(desk.manager.nextTimeout()?.at, 2_000);
  desk.manager.handleTimeout(1_999);
  t.deepEqual(desk.take(), []);
  desk.manager.handleTimeout(2_000);
  t.deepEqual(desk.take().map(brief), ['open offer']);
});

test('an offer is answered: remote description first, candidates that overtook it after', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  const offer = desk.offer({});
  desk.signal({type: 'candidate', sid: offer.nonce, candidate: HOST}, 1);
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 2);
  desk.signal({type: 'candidate', sid: offer.nonce, candidate: HOST.replace('5000', '5001')}, 2);
  t.deepEqual(desk.take().map(brief), ['open answer']);
  desk.opened(7, 3);
  t.deepEqual(desk.take().map(brief), ['set-remote', 'add-candidate', 'add-candidate']);
  desk.manager.handleLocal(7, {...LOCAL, setup: 'active'}, 4);
  t.deepEqual(desk.take().map(brief), ['signal answer']);
});

test('other servers and another name count from the next try on, generations go on from an earlier manager', (t) => {
  const desk = new Desk(low, high, {generation: 41});
  const servers = {stun: ['stun:192.0.2.9:3478'], turn: []};
  desk.manager.configure({name: 'den', servers, carriage: 'auto'});
  desk.online(0);
  const [open] = desk.take();
  t.deepEqual(open?.type === 'open' && open.servers, servers.stun);
  desk.opened(7, 1);
  desk.manager.handleLocal(7, LOCAL, 2);
  const [sent] = desk.take();
  const signed = sent?.type === 'signal' && sent.signal.type === 'offer' ? sent.signal.signed : undefined;
  t.deepEqual([signed?.name, signed?.generation], ['den', 42]);
  t.is(desk.manager.generation, 42);
});

test('frames pass only after both hellos', (t) => {
  const desk = new Desk(low, high);
  desk.checking(7, 0);
  desk.manager.handleMessage(7, desk.hello(), 10);
  t.deepEqual(desk.take(), []);
  desk.manager.handleUp(7, INFO, 11);
  t.deepEqual(desk.take().map(brief), ['send-message', 'port-up']);
  t.deepEqual(desk.peer.path, {kind: 'direct', local: INFO.local, remote: INFO.remote, carriage: 'srtp'});
  t.is(desk.peer.name, 'Hütte 🏠');
});

for (const [what, hello] of [
  ['another node', {id: low.id}],
  ['another generation', {generation: 99}],
] as const) {
  test(`a hello of ${what} closes the link and is shown`, (t) => {
    const desk = new Desk(low, high);
    desk.checking(7, 0);
    desk.manager.handleUp(7, INFO, 10);
    desk.take();
    desk.manager.handleMessage(7, desk.hello(hello), 11);
    t.deepEqual(desk.take().map(brief), ['close', 'signal terminate wrong-hello']);
    t.is(desk.peer.error?.code, 'wrong-hello');
  });
}

test('what is no hello and no bye is ignored', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  for (const text of ['', '{"type":"later"}', '\u0000']) desk.manager.handleMessage(7, utf8(text), 100);
  t.deepEqual(desk.take(), []);
  t.is(desk.state, 'up');
});

test('a lost link: frames stop first, then it is closed, then XMPP is tested', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.now = 20_000;
  desk.manager.handleLost(7, 'silent', 'Nothing heard for 12 s', desk.now);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close', 'probe-session', 'signal terminate silent']);
  t.is(desk.state, 'backoff');
  t.deepEqual(desk.peer.error, {code: 'silent', text: 'Nothing heard for 12 s', agoSec: 0});
  t.is(desk.peer.retryInSec, 1);
  t.false(desk.manager.handleLost(7, 'silent', 'again', 20_001));
});

test('a member that leaves keeps its link; once that is lost nothing is tried until it returns', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.handleMemberOffline(high.id, 100);
  t.deepEqual(desk.take(), []);
  t.is(desk.state, 'up');
  desk.manager.handleLost(7, 'silent', 'Nothing heard', 20_000);
  desk.take();
  t.is(desk.state, 'idle');
  t.is(desk.manager.nextTimeout(), undefined);
  desk.online(30_000);
  t.deepEqual(desk.take().map(brief), ['open offer']);
});

test('the end of the XMPP session leaves links up and stops tries that wait', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.handleSessionOffline(100);
  t.is(desk.state, 'up');
  t.false(desk.peer.present);
});

for (const [what, limit, prepare, code] of [
  ['gathering', 5_000, (desk: Desk) => desk.gathering(7, 0), 'gathering-timeout'],
  ['waiting for an answer', 12_000, (desk: Desk) => desk.offered(7, 0), 'no-answer'],
  ['checking', 10_000, (desk: Desk) => desk.checking(7, 0), 'checking-timeout'],
] as const) {
  test(`${what} has its limit of ${limit} ms`, (t) => {
    const desk = new Desk(low, high);
    prepare(desk);
    desk.runUntil(limit - 1);
    t.not(desk.state, 'backoff');
    desk.take();
    desk.runUntil(limit);
    t.is(desk.state, 'backoff');
    t.is(desk.peer.error?.code, code);
    t.is(desk.take().filter((effect) => effect.type === 'close').length, 1);
  });
}

test('the hello has its limit of 5 s', (t) => {
  const desk = new Desk(low, high);
  desk.checking(7, 0);
  desk.manager.handleUp(7, INFO, 1_000);
  desk.runUntil(5_999);
  t.is(desk.state, 'checking');
  desk.runUntil(6_000);
  t.is(desk.peer.error?.code, 'hello-timeout');
});

test('an unanswered offer is sent again, with its candidates, every 2 s', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  desk.manager.handleCandidate(7, HOST, 1);
  const [first] = desk.take();
  desk.runUntil(11_999);
  const again = desk.take();
  t.deepEqual(again.map(brief), Array.from({length: 5}, () => ['signal offer', 'signal candidate']).flat());
  t.is((first as {signal: Signal}).signal.type, 'candidate');
});

test('when offers cross, the smaller id’s stands', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  desk.signal({type: 'offer', sid: desk.offer({}).nonce, signed: desk.offer({})}, 1);
  t.deepEqual(desk.take(), []);
  t.is(desk.manager.peers(1)[0]?.port, 7);
});

test('when offers cross, the larger id drops its own and answers', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  desk.manager.handleTimeout(2_000);
  desk.opened(7, 2_000);
  desk.manager.handleLocal(7, LOCAL, 2_001);
  desk.take();
  desk.signal({type: 'offer', sid: desk.offer({}).nonce, signed: desk.offer({})}, 2_002);
  t.deepEqual(desk.take().map(brief), ['close', 'open answer']);
});

test('a higher generation replaces a link that is up at once', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  const offer = desk.offer({generation: 1, boot: 1_800_000_000});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 40_000);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close', 'open answer']);
});

test('an offer of another version is refused by its name, and tried again only after a minute or a return', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  desk.signal({type: 'unsupported', sid: 'ab'.repeat(16), version: 2}, 1);
  const [refusal, ...others] = desk.take();
  t.deepEqual(others, []);
  t.like(refusal, {signal: {type: 'terminate', reason: 'unsupported-version', text: 'I speak version 1'}});
  t.is(desk.peer.error?.code, 'unsupported-version');
  t.regex(desk.peer.error?.text ?? '', /speaks version 2 .*, this node version 1: update this node$/);
  desk.manager.handleInterfacesChanged(2);
  t.deepEqual([desk.state, desk.manager.nextTimeout()?.at], ['backoff', 60_001]);
  desk.online(5_000);
  desk.manager.handleTimeout(7_000);
  t.deepEqual(desk.take().map(brief), ['open offer'], 'updated and back');
});

test('an answer of another version, and a refusal of ours, end the try for a minute', (t) => {
  for (const [signal, said] of [
    [{type: 'unsupported', version: 3}, /speaks version 3/],
    [
      {type: 'terminate', reason: 'unsupported-version', text: 'mine is 2'},
      /does not take version 1 .*\(it says: mine is 2\)/,
    ],
  ] as const) {
    const desk = new Desk(low, high);
    desk.offered(7, 0);
    desk.signal({...signal, sid: desk.sid}, 100);
    t.is(desk.state, 'backoff');
    t.is(desk.manager.nextTimeout()?.at, 60_100);
    t.regex(desk.peer.error?.text ?? '', said);
    t.deepEqual(
      desk.take().map(brief),
      signal.type === 'terminate' ? ['close'] : ['close', 'signal terminate unsupported-version'],
    );
  }
});

test('an offer of another version does not touch a link that is up, nor do many of them fill the line', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  for (let i = 0; i < 30; i++) desk.signal({type: 'unsupported', sid: 'ab'.repeat(16), version: 2}, 10 + i);
  t.is(desk.state, 'up');
  const said = desk.take().map(brief);
  t.is(said.filter((one) => one === 'signal terminate unsupported-version').length, 8);
});

test('a hello of another version ends the link by its name', (t) => {
  const desk = new Desk(low, high);
  desk.checking(7, 0);
  desk.manager.handleUp(7, INFO, 1);
  desk.take();
  desk.manager.handleMessage(7, desk.hello({version: 2}), 2);
  t.deepEqual(desk.take().map(brief), ['close', 'signal terminate unsupported-version']);
  t.is(desk.peer.error?.code, 'unsupported-version');
});

test('an old or repeated offer is refused, shown, and does not touch the link', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 1);
  desk.opened(7, 1);
  desk.manager.handleLocal(7, {...LOCAL, setup: 'active'}, 2);
  desk.take();
  const old = desk.offer({nonce: 'ab'.repeat(16), generation: 2});
  desk.signal({type: 'offer', sid: old.nonce, signed: old}, 3);
  t.deepEqual(desk.take().map(brief), ['signal terminate old-generation']);
  t.is(desk.peer.error?.code, 'old-generation');
  t.is(desk.state, 'checking');
});

test('the same offer again is answered again', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 1);
  desk.opened(7, 1);
  desk.manager.handleLocal(7, {...LOCAL, setup: 'active'}, 2);
  const sent = desk.take().at(-1);
  for (let i = 0; i < 20; i++) desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 3 + i);
  // But not without end.
  t.deepEqual(
    desk.take(),
    Array.from({length: 6}, () => sent as LinkEffect),
  );
});

test('a forged offer is refused, and shown beside the link that stays up', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  const forged = {...desk.offer({boot: 1_900_000_000}), signature: '00'.repeat(64)};
  desk.signal({type: 'offer', sid: forged.nonce, signed: forged}, 100);
  t.deepEqual(desk.take().map(brief), ['signal terminate bad-signature']);
  t.is(desk.state, 'up');
  t.is(desk.manager.peers(60_000)[0]?.error?.code, 'bad-signature');
  t.is(desk.manager.peers(700_200)[0]?.error, undefined);
});

test('a forged answer ends the try, and is shown', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  const answer = {...desk.answer(), signature: '00'.repeat(64)};
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, 10);
  t.deepEqual(desk.take().map(brief), ['close', 'signal terminate bad-signature']);
  t.is(desk.peer.error?.code, 'bad-signature');
});

test('a refusal stays on the peer for 10 minutes against ordinary failures', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  const answer = {...desk.answer(), signature: '00'.repeat(64)};
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, 10);
  const fail = (at: number) => {
    desk.offered(8, at);
    desk.manager.handleLost(8, 'ice-failed', 'no pair worked', at + 10);
    desk.take();
  };
  fail(5_000);
  t.is(desk.peer.error?.code, 'bad-signature');
  fail(610_000);
  t.is(desk.peer.error?.code, 'ice-failed');
});

test('a signal from a stranger is refused without a link', (t) => {
  const desk = new Desk(low, high);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 1);
  desk.signal({type: 'terminate', sid: offer.nonce, reason: 'x', text: ''}, 1);
  t.deepEqual(desk.take().map(brief), ['signal terminate unknown-peer']);
  t.deepEqual(desk.manager.peers(1), []);
});

test('an answer to no offer is refused, a terminate of no session is not answered', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  const answer = {...desk.answer(), nonce: 'cd'.repeat(16)};
  desk.signal({type: 'answer', sid: answer.nonce, signed: answer}, 10);
  desk.signal({type: 'terminate', sid: answer.nonce, reason: 'gone', text: ''}, 10);
  t.deepEqual(desk.take().map(brief), ['signal terminate unknown-session']);
  t.is(desk.state, 'up');
});

test('the peer’s terminate closes the link and says why', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.signal({type: 'terminate', sid: desk.sid, reason: 'silent', text: 'Nothing heard for 12 s'}, 10);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close']);
  t.is(desk.peer.error?.text, 'The peer ended the try: Nothing heard for 12 s');
});

test('an offer that XMPP cannot deliver fails at once; a candidate does not matter', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  const error = new IpopError('offline', 'no session');
  desk.manager.handleSignalFailed(JID, {type: 'candidate', sid: desk.sid, candidate: HOST}, error, 1);
  t.is(desk.state, 'checking');
  desk.manager.handleSignalFailed(JID, {type: 'offer', sid: desk.sid, signed: desk.sent}, error, 2);
  t.deepEqual(desk.take().map(brief), ['close']);
  t.is(desk.peer.error?.code, 'offline');
});

test('a native link that cannot be opened is a failed try', (t) => {
  const desk = new Desk(low, high);
  desk.online(0);
  const [open] = desk.take();
  desk.manager.handleOpenFailed((open as {key: string}).key, new IpopError('open-failed', 'No descriptors left'), 1);
  t.deepEqual(desk.take(), []);
  t.is(desk.peer.error?.text, 'No descriptors left');
  t.is(desk.state, 'backoff');
});

test('a port that was opened for a try that is over is closed', (t) => {
  const desk = new Desk(low, high);
  desk.online(0);
  const [open] = desk.take();
  desk.manager.handleMemberOnline({id: high.id, jid: `${JID}-2`}, 1);
  desk.manager.handleOpened((open as {key: string}).key, 7, 2);
  t.deepEqual(desk.take().map(brief), ['open offer', 'close']);
});

test('the back-off begins anew after 30 s up, not before', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.handleLost(7, 'silent', 'x', 29_000);
  t.is(desk.peer.attempts, 1);
  desk.runUntil(31_000);
  desk.up(8, 31_000);
  desk.runUntil(62_000);
  t.is(desk.peer.attempts, 0);
});

test('changed interfaces bring the next try forward', (t) => {
  const desk = new Desk(low, high, {}, () => 0.99);
  desk.offered(7, 0);
  for (const _ of [1, 2, 3, 4]) desk.failOnce();
  t.is(desk.peer.retryInSec, 4);
  desk.manager.handleInterfacesChanged(desk.now);
  t.is(desk.peer.retryInSec, 1);
});

test('no more offers than allowed are made at once, and those that wait longest go first', (t) => {
  const desk = new Desk(low, high, {offersAtOnce: 2});
  const peers = Array.from({length: 5}, (_, i) => ({id: `f${i}`.repeat(20), jid: `p${i}@x/1`}));
  for (const [i, peer] of peers.entries()) desk.manager.handleMemberOnline(peer, i);
  const opens = () => desk.take().flatMap((effect) => (effect.type === 'open' ? effect.key.slice(0, 2) : []));
  t.deepEqual(opens(), ['f0', 'f1']);
  desk.runUntil(5_001);
  t.deepEqual(opens(), ['f2', 'f3']);
});

test('more answers than allowed are refused as busy', (t) => {
  const desk = new Desk(high, low, {answersAtOnce: 0});
  desk.online(0);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 1);
  t.deepEqual(desk.take().map(brief), ['signal terminate busy']);
});

test('a full table takes a new peer only for one that is gone, and generations go on', (t) => {
  const desk = new Desk(low, high, {peers: 1});
  desk.offered(7, 0);
  desk.manager.handleMemberOnline({id: 'f0'.repeat(20), jid: 'other@x/1'}, 1);
  t.deepEqual(
    desk.manager.peers(1).map((peer) => peer.id),
    [high.id],
  );
  desk.manager.handleMemberOffline(high.id, 2);
  desk.manager.handleLost(7, 'ice-failed', 'x', 3);
  desk.manager.handleMemberOnline({id: 'f0'.repeat(20), jid: 'other@x/1'}, 4);
  t.deepEqual(
    desk.manager.peers(4).map((peer) => peer.id),
    ['f0'.repeat(20)],
  );
  const open = desk.take().at(-1) as {key: string};
  desk.manager.handleOpened(open.key, 8, 5);
  desk.manager.handleLocal(8, LOCAL, 5);
  t.is((desk.take().at(-1) as {signal: {signed: SignedDescription}}).signal.signed.generation, 2);
});

test('stopping says goodbye on the link and over XMPP, and closes everything', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.stop(100);
  t.deepEqual(desk.take().map(brief), ['send-message', 'port-down', 'close', 'signal terminate stopping']);
  desk.online(200);
  t.deepEqual(desk.take(), []);
  t.is(desk.manager.nextTimeout(), undefined);
});

test('a bye closes the link without a test of XMPP', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.handleMessage(7, utf8('{"type":"bye","reason":"stopping"}'), 100);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close']);
  t.is(desk.peer.error?.code, 'bye');
});

test('a link whose end was among lost records is found out and made anew', (t) => {
  const desk = new Desk(low, high);
  desk.up(7, 0);
  desk.manager.handleGap(() => false, 10);
  t.is(desk.state, 'up');
  desk.manager.handleGap((port) => port === 7, 20);
  t.deepEqual(desk.take().map(brief), ['port-down', 'close', 'probe-session', 'signal terminate internal']);
  t.is(desk.manager.peers(20)[0]?.state, 'backoff');
});

test('a peer cannot make us open links without end', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  const take = (generation: number, now: number) => {
    const nonce = generation.toString(16).padStart(32, '0');
    const offer = desk.offer({generation, nonce});
    desk.signal({type: 'offer', sid: nonce, signed: offer}, now);
    return desk.take().map(brief);
  };
  for (let i = 0; i < 8; i++) t.deepEqual(take(10 + i, i), ['open answer']);
  t.deepEqual(take(30, 10), ['signal terminate busy']);
  t.deepEqual(take(31, 2_100), ['open answer']);
});

test('a late copy of an offer, or one of a peer that has just left, is no sign of tampering', (t) => {
  const desk = new Desk(high, low);
  desk.online(0);
  const offer = desk.offer({});
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 1);
  desk.opened(7, 1);
  desk.manager.handleLost(7, 'ice-failed', 'No pair works', 2);
  desk.take();
  desk.signal({type: 'offer', sid: offer.nonce, signed: offer}, 3);
  t.deepEqual(desk.take().map(brief), ['signal terminate ended']);
  desk.manager.handleMemberOffline(low.id, 4);
  const next = desk.offer({generation: 4, nonce: 'ab'.repeat(16)});
  desk.signal({type: 'offer', sid: next.nonce, signed: next}, 5);
  t.deepEqual(desk.take().map(brief), ['signal terminate unknown-peer']);
  t.is(desk.peer.error?.code, 'ice-failed');
});

test('an offer that has to wait for room on the XMPP stream is not given up', (t) => {
  const desk = new Desk(low, high);
  desk.offered(7, 0);
  const signal = {type: 'offer', sid: desk.sid, signed: desk.sent} as const;
  desk.manager.handleSignalFailed(JID, signal, new IpopError('busy', 'x'), 1);
  t.is(desk.state, 'checking');
});
