// SPDX-License-Identifier: MIT
// Types of the @xmpp packages, which ship none: only what we use.

declare module '@xmpp/xml' {
  export class Element {
    constructor(name: string, attrs?: Record<string, string | undefined> | string);
    name: string;
    attrs: Record<string, string>;
    children: (Element | string)[];
    parent: Element | null;
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildElements(): Element[];
    getChildText(name: string, xmlns?: string): string | null;
    text(): string;
    getText(): string;
    append(...nodes: (Element | string)[]): void;
    toString(): string;
  }
  /** Element of a name, attributes and children (undefined and null children are left out). */
  export default function xml(
    name: string,
    attrs?: Record<string, string | undefined>,
    ...children: (Element | string | undefined | null)[]
  ): Element;
}

declare module '@xmpp/xml/lib/Parser.js' {
  import type {Element} from '@xmpp/xml';
  /** Emits start, element, end and error. */
  export default class Parser {
    root: Element | null;
    cursor: Element | null;
    write(text: string): void;
    on(event: string, listener: (element: Element) => void): this;
    emit(event: string, ...args: unknown[]): boolean;
    onStartElement(name: string, attrs: Record<string, string>): void;
    onEndElement(name: string): void;
    onText(text: string): void;
  }
}

declare module '@xmpp/jid' {
  export interface JID {
    readonly local: string;
    readonly domain: string;
    readonly resource: string;
    bare(): JID;
    toString(): string;
  }
  /** Parses a JID; throws when it has no domain. */
  export default function jid(text: string): JID;
}

declare module '@xmpp/connection' {
  import type {Element} from '@xmpp/xml';
  import type {JID} from '@xmpp/jid';
  import type Parser from '@xmpp/xml/lib/Parser.js';
  export default class Connection {
    constructor(options: {domain: string});
    jid: JID | null;
    root: Element | null;
    parser: Parser | null;
    status: string;
    options: {domain: string};
    on(event: string, listener: (...args: never[]) => void): this;
    removeListener(event: string, listener: (...args: never[]) => void): this;
    emit(event: string, ...args: unknown[]): boolean;
    send(element: Element): Promise<void>;
    write(text: string): Promise<void>;
    open(options: {domain: string}): Promise<void>;
    restart(): Promise<void>;
    disconnect(): Promise<void>;
    header(element: Element): string;
    headerElement(): Element;
    _jid(jid: string): JID;
    _status(status: string, ...args: unknown[]): void;
    _attachParser(parser: Parser): void;
    _detachParser(): void;
    _onElement(element: Element): void;
    _onStreamError(element: Element): void;
  }
}

declare module '@xmpp/middleware' {
  import type Connection from '@xmpp/connection';
  import type {Element} from '@xmpp/xml';
  export interface Context {
    readonly stanza: Element;
    readonly element?: Element;
    readonly entity: Connection;
  }
  export interface Middleware {
    use(handler: (context: Context, next: () => Promise<unknown>) => unknown): void;
    filter(handler: (context: Context, next: () => Promise<unknown>) => unknown): void;
  }
  export default function middleware(parts: {entity: Connection}): Middleware;
}

declare module '@xmpp/stream-features' {
  import type {Context, Middleware} from '@xmpp/middleware';
  import type {Element} from '@xmpp/xml';
  export interface StreamFeatures {
    use(
      name: string,
      xmlns: string,
      handler: (context: Context, next: () => Promise<unknown>, feature: Element) => unknown,
    ): void;
  }
  export default function streamFeatures(parts: {middleware: Middleware}): StreamFeatures;
}

declare module '@xmpp/iq/caller.js' {
  import type Connection from '@xmpp/connection';
  import type {Middleware} from '@xmpp/middleware';
  import type {Element} from '@xmpp/xml';
  export interface IqCaller {
    /** Requests that wait for their answer, by id. */
    handlers: Map<string, {reject(reason: unknown): void}>;
    request(stanza: Element, timeoutMs?: number): Promise<Element>;
  }
  export default function iqCaller(parts: {entity: Connection; middleware: Middleware}): IqCaller;
}

declare module '@xmpp/iq/callee.js' {
  import type Connection from '@xmpp/connection';
  import type {Context, Middleware} from '@xmpp/middleware';
  export interface IqCallee {
    /** A truthy answer is a result, an `error` element an error. */
    get(xmlns: string, name: string, handler: (context: Context) => unknown): void;
    set(xmlns: string, name: string, handler: (context: Context) => unknown): void;
  }
  export default function iqCallee(parts: {entity: Connection; middleware: Middleware}): IqCallee;
}

declare module '@xmpp/resource-binding' {
  import type {IqCaller} from '@xmpp/iq/caller.js';
  import type {StreamFeatures} from '@xmpp/stream-features';
  export default function resourceBinding(
    parts: {streamFeatures: StreamFeatures; iqCaller: IqCaller},
    resource: string,
  ): void;
}

declare module '@xmpp/stream-management' {
  import type Connection from '@xmpp/connection';
  import type {Middleware} from '@xmpp/middleware';
  import type {StreamFeatures} from '@xmpp/stream-features';
  import type {Element} from '@xmpp/xml';
  export interface StreamManagement {
    enabled: boolean;
    id: string;
    max: string | null;
    inbound: number;
    outbound: number;
    outbound_q: {stanza: Element; stamp: string}[];
    timeout: number;
    requestAckInterval: number;
    requestAckDebounce: number;
    on(event: 'resumed' | 'ack' | 'fail', listener: (stanza?: Element) => void): void;
  }
  export default function streamManagement(parts: {
    entity: Connection;
    middleware: Middleware;
    streamFeatures: StreamFeatures;
  }): StreamManagement;
}
