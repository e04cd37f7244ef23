// SPDX-License-Identifier: MIT
// A whole session in its room, and what its server, the room and strangers may send: it stays online or says why not, with a code.

import {createXmppSession} from '../../../src/xmpp/session.ts';
import {NICK, PASSWORD, ROOM, occupant} from '../../unit/xmpp/fake-server.ts';
import {World} from '../../unit/xmpp/world.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';

const OTHER = 'b'.repeat(40);

export const target: Target = {
  seeds: [
    occupant(OTHER, 'b@example.org/ipop-b'),
    `${occupant(OTHER, 'b@example.org/x')}${occupant(OTHER, undefined, "<status code='307'/>", 'unavailable')}`,
    occupant(NICK, 'node@example.org/ipop', "<status code='110'/><status code='321'/>", 'unavailable'),
    `${occupant(OTHER, 'b@example.org/x')}<iq type='set' id='1' from='b@example.org/x'><jingle xmlns='urn:xmpp:jingle:1' sid='7'/></iq>`,
    "<iq type='get' id='2' from='x@y/z'><query xmlns='http://jabber.org/protocol/disco#info'/></iq><r xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='99'/><message type='groupchat'><body>x</body></message>",
    "<iq type='result' id='nope'/><stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text>a</text></stream:error>",
    `<presence from='${ROOM}/x' type='error'><error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence></stream:stream>`,
  ],
  words: [
    ROOM,
    NICK,
    OTHER,
    "type='error'",
    "type='set'",
    '</presence>',
    '</iq>',
    "h='1'",
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'",
    "<ping xmlns='urn:xmpp:ping'/>",
  ],
  maxBytes: 1024,
  limitMs: 500,
  async check(data) {
    const world = new World();
    const states: string[] = [];
    const members = new Set<string>();
    const session = createXmppSession(
      world.deps,
      {
        jid: 'node@example.org',
        password: PASSWORD,
        server: {host: 'xmpp.example.org', port: 5223},
        tls: 'auto',
        caFile: undefined,
        pin: undefined,
        resource: 'ipop-aaaa',
        room: ROOM,
        nick: NICK,
        owner: false,
        members: [],
      },
      {
        onState: (state, error) => {
          holds(!error || (error.code !== '' && error.code !== 'internal'), `${error?.code}: ${error?.message}`);
          states.push(state);
        },
        onMemberOnline: ({id, jid}) => {
          holds(/^[0-9a-f]{40}$/.test(id) && jid.includes('/') && !members.has(id), `${id} ${jid}`);
          members.add(id);
        },
        onMemberOffline: (id) => holds(members.delete(id), `${id} was not there`),
        onJingle: (_from, jingle) => holds(jingle.is('jingle', 'urn:xmpp:jingle:1'), jingle.toString()),
      },
    );
    session.start();
    await world.clock.advance(100);
    equal(states.at(-1), 'online');
    world.server.send(Buffer.from(data).toString());
    await world.clock.advance(100);
    // Whatever it was: a minute later it is back, unless somebody threw it out of the room, and then it says so.
    await world.clock.advance(60_000);
    holds(
      ['online', 'waiting', 'connecting', 'authenticating', 'joining'].includes(states.at(-1) ?? ''),
      states.join(' '),
    );
    const stopped = session.stop();
    await world.clock.advance(5_000);
    await stopped;
    equal(world.clock.pending, 0, 'timers that outlive the session');
  },
};
