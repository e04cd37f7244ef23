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
