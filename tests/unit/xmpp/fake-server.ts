// SPDX-License-Identifier: MIT
// A scripted XMPP server: logs a client in by SCRAM-SHA-256, binds, manages the stream, and keeps one room.

import {createHash, createHmac, pbkdf2Sync, timingSafeEqual} from 'node:crypto';
import type {Element} from '@xmpp/xml';
import Parser from '@xmpp/xml/lib/Parser.js';

export const PASSWORD = 'secret';
const ROUNDS = 4096;
const SALT = Buffer.from('salt of the earth');

export interface ServerScript {
  /** Condition of SASL failure. */
  readonly refuse?: string;
  readonly wrongSignature?: boolean;
  readonly mechanisms?: readonly string[];
  /** Types of channel binding that it names (XEP-0440); undefined: it does not say. */
  readonly bindings?: readonly string[];
  /** What TLS exports, in hex, to the client; and, when somebody sits in between, something else to the server. */
  readonly exporter?: string;
  readonly serverExporter?: string;
  /** Version that the client is told; default TLSv1.3. */
  readonly tls?: string;
  readonly rounds?: number;
  /** Offers stream management; default true. */
  readonly sm?: boolean;
  /** Answers `resume` with this h; undefined refuses it. */
  readonly resumeAt?: number;
  /** Says nothing from this stage on. */
  readonly silentFrom?: 'stream' | 'bind' | 'room' | 'acknowledgement';
  /** What the room answers to our presence; default: `selfPresence()`. */
  readonly room?: (presence: Element) => string;
}

export const ROOM = 'lan@rooms.example.org';
export const NICK = 'a'.repeat(40);

/** Presence of an occupant. */
export function occupant(nick: string, jid: string | undefined, status = '', type = ''): string {
  const item = `<item affiliation='member' role='participant'${jid === undefined ? '' : ` jid='${jid}'`}/>`;
  const user = `<x xmlns='http://jabber.org/protocol/muc#user'>${item}${status}</x>`;
  return `<presence from='${ROOM}/${nick}'${type && ` type='${type}'`}>${user}</presence>`;
}

export function selfPresence(): string {
  return occupant(NICK, 'node@example.org/ipop', "<status code='110'/>");
}

export class FakeServer {
  /** Stanzas and nonzas of the client after its login. */
  readonly got: Element[] = [];
  readonly headers: Element[] = [];
  ended = false;
  /** Of the client's login: mechanism and GS2 header. */
  mechanism = '';
  gs2 = '';
  raw = '';
  readonly #script: ServerScript;
  readonly #send: (text: string) => void;
  #parser = this.#newParser();
  #authenticated = false;
  #clientFirst = '';
  #serverFirst = '';
  #handled = 0;

  constructor(script: ServerScript, send: (text: string) => void) {
    this.#script = script;
    this.#send = send;
  }

  /** What the client sent as elements of this name. */
  named(name: string): Element[] {
    return this.got.filter((element) => element.name === name);
  }

  /** Sends XML to the client, in one read. */
  send(text: string): void {
    this.#send(text);
  }

  receive(text: string): void {
    this.raw += text;
    if (text.startsWith('<?xml')) this.#parser = this.#newParser();
    this.#parser.write(text);
  }

  #newParser(): Parser {
    const parser = new Parser();
    parser.on('start', (header: Element) => this.#onStart(header));
    parser.on('element', (element: Element) => this.#onElement(element));
    parser.on('end', () => {
      this.ended = true;
      this.#send('</stream:stream>');
    });
    return parser;
  }

  #onStart(header: Element): void {
    this.headers.push(header);
    if (this.#script.silentFrom === 'stream') return;
    const mechanisms = this.#script.mechanisms ?? ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256'];
    const names = mechanisms.map((name) => `<mechanism>${name}</mechanism>`).join('');
    const types = this.#script.bindings?.map((type) => `<channel-binding type='${type}'/>`).join('');
    const binding =
      types === undefined ? '' : `<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>${types}</sasl-channel-binding>`;
    const login = `${binding}<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>${names}</mechanisms>`;
    const sm = this.#script.sm === false ? '' : "<sm xmlns='urn:xmpp:sm:3'/>";
    const features = this.#authenticated ? `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>${sm}` : login;
    const namespaces = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    this.#send(`<?xml version='1.0'?><stream:stream ${namespaces} from='example.org' id='1' version='1.0'>`);
    this.#send(`<stream:features>${features}</stream:features>`);
  }

  #onElement(element: Element): void {
    if (['auth', 'response'].includes(element.name)) return this.#login(element);
    this.got.push(element);
    if (['iq', 'presence', 'message'].includes(element.name)) this.#handled++;
    if (this.#script.silentFrom === 'bind') return;
    if (element.name === 'enable') {
      this.#handled = 0;
      this.#send("<enabled xmlns='urn:xmpp:sm:3' id='sm1' resume='true'/>");
    } else if (element.name === 'resume') {
      const {resumeAt} = this.#script;
      if (resumeAt === undefined)
        this.#send(
          "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
        );
      else this.#send(`<resumed xmlns='urn:xmpp:sm:3' h='${resumeAt}' previd='sm1'/>`);
    } else if (element.name === 'r') {
      if (!this.#script.silentFrom) this.#send(`<a xmlns='urn:xmpp:sm:3' h='${this.#handled}'/>`);
    } else if (element.name === 'presence') this.#onPresence(element);
    else if (element.name === 'iq') this.#onIq(element);
  }

  #onPresence(presence: Element): void {
    if (!presence.getChild('x') || this.#script.silentFrom === 'room') return;
    this.#send(this.#script.room?.(presence) ?? selfPresence());
  }

  #onIq(iq: Element): void {
    const {id, type, to} = iq.attrs;
    if (type !== 'get' && type !== 'set') return;
    if (iq.getChild('bind')) {
      const resource = iq.getChild('bind')?.getChildText('resource');
      const bound = `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>node@example.org/${resource}</jid></bind>`;
      this.#send(`<iq type='result' id='${id}'>${bound}</iq>`);
    } else if (!iq.getChild('jingle') && [undefined, 'acknowledgement'].includes(this.#script.silentFrom)) {
      this.#send(`<iq type='result' id='${id}' from='${to}'/>`);
    }
  }

  #login(element: Element): void {
    const namespace = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    const text = Buffer.from(element.text(), 'base64').toString();
    if (this.#script.refuse !== undefined)
      return this.#send(`<failure ${namespace}><${this.#script.refuse}/></failure>`);
    if (element.name === 'auth') {
      this.mechanism = element.attrs['mechanism'] ?? '';
      [, this.gs2 = ''] = /^((?:p=[a-z-]+|y|n),,)/.exec(text) ?? [];
      this.#clientFirst = text.slice(this.gs2.length);
      // RFC 5802, 6: the flag must fit the mechanism, and `y` must not be said to one who offers binding.
      const offersPlus = this.#script.mechanisms?.some((name) => name.endsWith('-PLUS')) === true;
      const wrong =
        this.mechanism.endsWith('-PLUS') !== this.gs2.startsWith('p=') || (this.gs2 === 'y,,' && offersPlus);
      if (this.gs2 === '' || wrong) return this.#send(`<failure ${namespace}><malformed-request/></failure>`);
      const nonce = /r=([^,]+)/.exec(text)?.[1];
      this.#serverFirst = `r=${nonce}server,s=${SALT.toString('base64')},i=${this.#script.rounds ?? ROUNDS}`;
      return this.#send(`<challenge ${namespace}>${Buffer.from(this.#serverFirst).toString('base64')}</challenge>`);
    }
    const [withoutProof = '', proof = ''] = text.split(',p=');
    const {exporter = '', serverExporter = exporter} = this.#script;
    const bound = this.gs2.startsWith('p=') ? Buffer.from(serverExporter, 'hex') : Buffer.alloc(0);
    const expected = Buffer.concat([Buffer.from(this.gs2), bound]).toString('base64');
    if (!withoutProof.startsWith(`c=${expected},r=`))
      return this.#send(`<failure ${namespace}><not-authorized/></failure>`);
    const message = `${this.#clientFirst},${this.#serverFirst},${withoutProof}`;
    const hmac = (key: Uint8Array, data: string): Buffer => createHmac('sha256', key).update(data).digest();
    const salted = pbkdf2Sync(PASSWORD, SALT, ROUNDS, 32, 'sha256');
    const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest();
    const signature = hmac(stored, message);
    const clientKey = Buffer.from(proof, 'base64').map((byte, i) => byte ^ (signature[i] ?? 0));
    if (!timingSafeEqual(createHash('sha256').update(clientKey).digest(), stored)) {
      return this.#send(`<failure ${namespace}><not-authorized/></failure>`);
    }
    this.#authenticated = true;
    const server = this.#script.wrongSignature ? 'Wrong Key' : 'Server Key';
    const final = `v=${hmac(hmac(salted, server), message).toString('base64')}`;
    this.#send(`<success ${namespace}>${Buffer.from(final).toString('base64')}</success>`);
  }
}
