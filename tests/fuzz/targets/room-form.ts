// SPDX-License-Identifier: MIT
// A room's form and member lists as a server sends them: what goes back has only fields that were offered, ours with our values.

import xml, {type Element} from '@xmpp/xml';
import {IpopError} from '../../../src/base/errors.ts';
import {configureRoom, grantMembers} from '../../../src/xmpp/muc-config.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';
import {parseXml} from '../xml.ts';

const ROOM = 'lan@rooms.example.org';
const OWNER = 'http://jabber.org/protocol/muc#owner';
const ADMIN = 'http://jabber.org/protocol/muc#admin';
const field = (name: string, value: string, type = 'boolean'): string =>
  `<field var='${name}' type='${type}'><value>${value}</value></field>`;
const form = (fields: string): string =>
  `<iq type='result'><query xmlns='${OWNER}'><x xmlns='jabber:x:data' type='form'>${fields}</x></query></iq>`;
const MEMBERS_ONLY = 'muc#roomconfig_membersonly';
const member = 'b@example.org';

export const target: Target = {
  seeds: [
    form(field('FORM_TYPE', 'x', 'hidden') + field(MEMBERS_ONLY, '0') + field('muc#roomconfig_whois', 'moderators')),
    form(
      `<field var='muc#roomconfig_maxusers'><option><value>30</value></option><option><value>200</value></option></field>${field('a', 'b', 'fixed')}`,
    ),
    `<iq><query xmlns='${ADMIN}'><item affiliation='member' jid='B@example.org'/></query></iq>`,
    '<iq type="error"/>',
  ],
  words: [
    "var='muc#roomconfig_maxusers'",
    '<value>none</value>',
    '<value>1e999</value>',
    '<value>-1</value>',
    '<option>',
    '</option>',
    "var='__proto__'",
    "type='fixed'",
  ],
  async check(data) {
    const answer = parseXml(Buffer.from(data).toString());
    if (!answer) return;
    const asked: Element[] = [];
    const request = async (iq: Element): Promise<Element> => {
      asked.push(iq);
      return iq.attrs['type'] === 'get' ? answer : xml('iq', {type: 'result'});
    };
    try {
      await configureRoom(request, ROOM, () => undefined);
      checkSubmitted(asked[1], answer);
    } catch (error) {
      if (!(error instanceof IpopError) || error.code !== 'room-config') throw error;
    }
    holds(asked.length <= 2, 'asks more than it must');
    asked.length = 0;
    await grantMembers(request, ROOM, [member, member], () => undefined);
    const known = answer.getChild('query', ADMIN)?.getChildren('item') ?? [];
    const isKnown = known.some((item) => item.attrs['jid']?.toLowerCase() === member);
    equal(asked.filter((iq) => iq.attrs['type'] === 'set').length, isKnown ? 0 : 1, 'grants');
  },
};

function checkSubmitted(iq: Element | undefined, answer: Element): void {
  const fieldsOf = (element: Element | undefined): Element[] =>
    element?.getChild('query', OWNER)?.getChild('x', 'jabber:x:data')?.getChildren('field') ?? [];
  const names = (fields: Element[]): (string | undefined)[] => fields.map(({attrs}) => attrs['var']);
  const offered = fieldsOf(answer).filter(({attrs}) => attrs['var'] !== undefined && attrs['type'] !== 'fixed');
  const sent = fieldsOf(iq);
  equal(names(sent), names(offered), 'other fields than were offered');
  for (const one of sent) {
    const values = one.getChildren('value').map((value) => value.text());
    if (one.attrs['var'] === MEMBERS_ONLY) equal(values, ['1']);
    if (one.attrs['var'] === 'muc#roomconfig_whois') equal(values, ['anyone']);
  }
}
