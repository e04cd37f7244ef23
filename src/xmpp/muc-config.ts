// SPDX-License-Identifier: MIT
// What the owner of a room does (XEP-0045, 9 and 10): its form and its member list.

import xml, {type Element} from '@xmpp/xml';
import {IpopError, textOf} from '../base/errors.ts';

const NS_OWNER = 'http://jabber.org/protocol/muc#owner';
const NS_ADMIN = 'http://jabber.org/protocol/muc#admin';
const NS_FORM = 'jabber:x:data';
/** Members are added in batches of this many requests, so that a long list does not fill the server's queue. */
const BATCH = 16;

export type Request = (iq: Element) => Promise<Element>;

const MEMBERS_ONLY = 'muc#roomconfig_membersonly';
/** What a group's room is like; only fields that the server's form offers are sent. */
const WANTED: Readonly<Record<string, readonly string[]>> = {
  [MEMBERS_ONLY]: ['1'],
  'muc#roomconfig_publicroom': ['0'],
  'muc#roomconfig_persistentroom': ['1'],
  'muc#roomconfig_whois': ['anyone'],
  'muc#roomconfig_passwordprotectedroom': ['0'],
  'muc#roomconfig_roomsecret': [],
  'muc#roomconfig_enablelogging': ['0'],
  'muc#roomconfig_enablearchiving': ['0'],
  'muc#roomconfig_presencebroadcast': ['moderator', 'participant', 'visitor'],
};
const MAX_USERS = 'muc#roomconfig_maxusers';

/**
 * Fetches the room's form, fills in what a group needs and submits it; fields that are not ours keep their values. `log` is told when the
 * server has no rooms for members only.
 */
export async function configureRoom(request: Request, room: string, log: (text: string) => void): Promise<void> {
  try {
    const answer = await request(xml('iq', {type: 'get', to: room}, xml('query', {xmlns: NS_OWNER})));
    const form = answer.getChild('query', NS_OWNER)?.getChild('x', NS_FORM);
    if (!form) throw new IpopError('room-config', 'server sent no form');
    const fields = form.getChildren('field');
    if (!fields.some((field) => field.attrs['var'] === MEMBERS_ONLY))
      log(`server cannot make room '${room}' members-only: whoever knows its name can join this network`);
    const submit = xml('x', {xmlns: NS_FORM, type: 'submit'}, ...fields.map(fill));
    await request(xml('iq', {type: 'set', to: room}, xml('query', {xmlns: NS_OWNER}, submit)));
  } catch (error) {
    throw new IpopError('room-config', `cannot configure room '${room}': ${textOf(error)}`, {cause: error});
  }
}

function fill(field: Element): Element | undefined {
  const name = field.attrs['var'];
  const type = field.attrs['type'];
  if (name === undefined || type === 'fixed') return undefined;
  const values = wanted(name, field) ?? field.getChildren('value').map((value) => value.text());
  return xml('field', {var: name}, ...values.map((value) => xml('value', {}, value)));
}

function wanted(name: string, field: Element): readonly string[] | undefined {
  if (name !== MAX_USERS) return Object.hasOwn(WANTED, name) ? WANTED[name] : undefined;
  const offered = field.getChildren('option').map((option) => option.getChildText('value') ?? '');
  if (offered.includes('none')) return ['none'];
  const largest = Math.max(0, ...offered.map(Number).filter(Number.isFinite));
  return largest > 0 ? [`${largest}`] : undefined;
}

/** Gives `member` to those who have no affiliation yet; nobody loses one. What fails is logged: the others still get in. */
export async function grantMembers(
  request: Request,
  room: string,
  members: readonly string[],
  log: (text: string) => void,
): Promise<void> {
  const lists = await Promise.all(['owner', 'admin', 'member'].map((kind) => affiliated(request, room, kind, log)));
  const have = new Set(lists.flat());
  const missing = [...new Set(members)].filter((jid) => !have.has(jid.toLowerCase()));
  for (let at = 0; at < missing.length; at += BATCH) {
    await Promise.all(missing.slice(at, at + BATCH).map((jid) => grant(request, room, jid, log)));
  }
}

async function affiliated(
  request: Request,
  room: string,
  affiliation: string,
  log: (text: string) => void,
): Promise<string[]> {
  try {
    const query = xml('query', {xmlns: NS_ADMIN}, xml('item', {affiliation}));
    const answer = await request(xml('iq', {type: 'get', to: room}, query));
    const items = answer.getChild('query', NS_ADMIN)?.getChildren('item') ?? [];
    return items.flatMap((item) => item.attrs['jid']?.toLowerCase() ?? []);
  } catch (error) {
    log(`cannot read the ${affiliation} list of room '${room}': ${textOf(error)}`);
    return [];
  }
}

async function grant(request: Request, room: string, jid: string, log: (text: string) => void): Promise<void> {
  try {
    const query = xml('query', {xmlns: NS_ADMIN}, xml('item', {affiliation: 'member', jid}));
    await request(xml('iq', {type: 'set', to: room}, query));
  } catch (error) {
    log(`cannot add '${jid}' to room '${room}': ${textOf(error)}`);
  }
}

/** Removes a room that was made by accident. */
export async function destroyRoom(request: Request, room: string): Promise<void> {
  await request(xml('iq', {type: 'set', to: room}, xml('query', {xmlns: NS_OWNER}, xml('destroy', {}))));
}
