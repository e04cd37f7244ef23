// SPDX-License-Identifier: MIT
// SASL login (RFC 6120, 6) as a stream feature. Ours, because the packaged one does not check that the server knows the password.

import type {Context} from '@xmpp/middleware';
import type {StreamFeatures} from '@xmpp/stream-features';
import xml, {type Element} from '@xmpp/xml';
import {base64, fromBase64, hex} from '../base/bytes.ts';
import {IpopError} from '../base/errors.ts';
import {said} from './stanza-error.ts';
import {MECHANISMS, NO_BINDING, Scram} from './scram.ts';
import type {ChannelBinding, SaltedPassword, ScramDeps} from './scram.ts';
import type {HashName} from './types.ts';

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const NS_CHANNEL_BINDING = 'urn:xmpp:sasl-cb:0';
const NONCE_BYTES = 24;

export interface SaslOptions {
  /** Bare JID, for sentences. */
  readonly jid: string;
  readonly username: string;
  readonly password: string;
  readonly cache: SaltedPassword;
  /** Channel binding of type tls-exporter; undefined: there is none. */
  readonly exporter: Uint8Array | undefined;
}

/** A way to log in that both sides have. */
interface Login {
  readonly mechanism: string;
  readonly hash: HashName;
  readonly binding: ChannelBinding;
}

/** Logs in when the server offers mechanisms, then restarts the stream. `onFailed` is told why it did not work. */
export function setupSasl(
  streamFeatures: StreamFeatures,
  deps: ScramDeps & {randomBytes(length: number): Uint8Array},
  options: SaslOptions,
  onFailed: (error: unknown) => void,
): void {
  streamFeatures.use('mechanisms', NS_SASL, async ({entity, stanza}, _next, feature) => {
    try {
      const offered = feature.getChildren('mechanism', NS_SASL).map((mechanism) => mechanism.text());
      const {mechanism, hash, binding} = choose(offered, bindingTypes(stanza), options.exporter);
      const nonce = hex(deps.randomBytes(NONCE_BYTES));
      const {username, password, cache} = options;
      await exchange(
        entity,
        mechanism,
        new Scram(deps, {hash, username, password, nonce, cache, binding}),
        options.jid,
      );
      await entity.restart();
    } catch (error) {
      onFailed(error);
    }
  });
}

/**
 * The best login of those offered: bound to this TLS connection where both can, then by hash. Throws when there is none.
 *
 * A server that offers channel binding takes the flag `y` for somebody in between who removed that offer, and refuses; so `y` is said only
 * where it offers none at all, and `n` where we have no type in common. Those that do not name their types are older than ours: ejabberd
 * 23.01 knows tls-unique only, which TLS 1.3 does not have, and offers it all the same.
 */
function choose(offered: readonly string[], types: readonly string[], exporter: Uint8Array | undefined): Login {
  const bound = offered.some((name) => name.endsWith('-PLUS'));
  const canBind = types.includes('tls-exporter') ? exporter : undefined;
  if (canBind) {
    const plus = MECHANISMS.find(([mechanism]) => offered.includes(`${mechanism}-PLUS`));
    if (plus) return {mechanism: `${plus[0]}-PLUS`, hash: plus[1], binding: {flag: 'p=tls-exporter', data: canBind}};
  }
  const chosen = MECHANISMS.find(([mechanism]) => offered.includes(mechanism));
  if (!chosen) {
    const names = offered.slice(0, 8).join(', ') || 'none';
    throw new IpopError(
      'no-mechanism',
      `server offers no login that ipop can do (SCRAM); it offers: ${names.slice(0, 200)}`,
    );
  }
  const [mechanism, hash] = chosen;
  return {mechanism, hash, binding: exporter && !bound ? {...NO_BINDING, flag: 'y'} : NO_BINDING};
}

/** What the server can bind to (XEP-0440). */
function bindingTypes(features: Element): string[] {
  const binding = features.getChild('sasl-channel-binding', NS_CHANNEL_BINDING);
  return (binding?.getChildren('channel-binding') ?? []).map(({attrs}) => attrs['type'] ?? '');
}

function exchange(entity: Context['entity'], mechanism: string, scram: Scram, jid: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = async (element: Element): Promise<void> => {
      if (element.getNS() !== NS_SASL) return;
      try {
        if (element.name === 'challenge') {
          const response = await scram.final(payload(element));
          await entity.send(xml('response', {xmlns: NS_SASL}, base64(response)));
          return;
        }
        if (element.name === 'failure') throw failureOf(element, jid, mechanism.endsWith('-PLUS'));
        if (element.name !== 'success') return;
        scram.verify(payload(element));
        resolve();
      } catch (error) {
        reject(error);
      }
      entity.removeListener('nonza', listener);
    };
    const listener = (element: Element): void => void answer(element);
    entity.on('nonza', listener);
    entity.send(xml('auth', {xmlns: NS_SASL, mechanism}, base64(scram.first()))).catch(reject);
  });
}

function payload(element: Element): Uint8Array {
  const bytes = fromBase64(element.text().trim());
  if (!bytes) throw new IpopError('scram', `login by SCRAM failed: server's ${element.name} is not base64`);
  return bytes;
}

/** RFC 6120, 6.5. */
function failureOf(element: Element, jid: string, isBound: boolean): IpopError {
  const condition = element.getChildElements()[0]?.getName() ?? 'aborted';
  const detail = said(element.getChildText('text'));
  switch (condition) {
    case 'not-authorized':
      return new IpopError(
        condition,
        `password refused for '${jid}'${isBound ? ', or somebody sits in between' : ''}${detail}`,
      );
    case 'account-disabled':
      return new IpopError(condition, `account '${jid}' is disabled${detail}`);
    case 'credentials-expired':
      return new IpopError(condition, `password of '${jid}' has expired${detail}`);
    case 'temporary-auth-failure':
      return new IpopError(condition, `server cannot check passwords at the moment${detail}`);
    default:
      return new IpopError('login-refused', `server refused the login of '${jid}': ${condition}${detail}`);
  }
}
