// SPDX-License-Identifier: MIT
// Elements of text, for targets that begin behind the stream's parser.

import Parser from '@xmpp/xml/lib/Parser.js';
import type {Element} from '@xmpp/xml';

/** The first element of the text; undefined when there is none. */
export function parseXml(text: string): Element | undefined {
  const found: Element[] = [];
  const parser = new Parser();
  parser.on('element', (element) => void found.push(element));
  parser.on('error', () => undefined);
  try {
    parser.write(`<s>${text}`);
  } catch {
    // The base parser trips over ends without a beginning; src/xmpp/parser.ts catches it.
  }
  return found[0];
}
