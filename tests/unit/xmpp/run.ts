// SPDX-License-Identifier: MIT
// A session against the scripted server, and what it reports.

import type {ExecutionContext} from 'ava';
import {createXmppSession} from '../../../src/xmpp/session.ts';
import type {XmppOptions, XmppSession} from '../../../src/xmpp/types.ts';
import {NICK, PASSWORD, ROOM, type ServerScript} from './fake-server.ts';
import {World} from './world.ts';

export const OTHER = 'b'.repeat(40);
export const OTHER_JID = 'other@example.org/ipop-b';

export interface Run extends World {
  readonly session: XmppSession;
  /** State, and error code when there is one. */
  readonly states: string[];
  readonly events: string[];
}

/** A session that has not started. */
export function run(t: ExecutionContext, script: ServerScript | null = {}, options: Partial<XmppOptions> = {}): Run {
  const world = new World();
  world.script = script ?? undefined;
  const states: string[] = [];
  const events: string[] = [];
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
      ...options,
    },
    {
      onState: (state, error) => void states.push(error ? `${state} ${error.code}` : state),
      onMemberOnline: ({id, jid}) => void events.push(`+ ${id[0]} ${jid}`),
      onMemberOffline: (id) => void events.push(`- ${id[0]}`),
      onJingle: (from, jingle) => void events.push(`jingle ${jingle.attrs['sid']} from ${from}`),
    },
  );
  t.teardown(async () => {
    const stopped = session.stop();
    await world.clock.advance(2_000);
    await stopped;
  });
  return Object.assign(world, {session, states, events});
}

/** A session in its room. */
export async function online(
  t: ExecutionContext,
  script: ServerScript = {},
  options: Partial<XmppOptions> = {},
): Promise<Run> {
  const world = run(t, script, options);
  world.session.start();
  await world.clock.advance(100);
  t.is(world.states.at(-1), 'online', world.log.join('\n'));
  world.states.length = 0;
  return world;
}
