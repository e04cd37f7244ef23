// SPDX-License-Identifier: MIT
// Native calls that are answered later by records: streams and key derivation. Keeps who waits for which handle.

import type {ByteStream, ByteStreamHandlers, HashName, StreamTarget} from '../xmpp/types.ts';
import {IpopError} from '../base/errors.ts';
import {writeTextMap} from '../base/text-map.ts';
import type {SrvRecord} from '../xmpp/servers.ts';
import type {NativeEvent} from './datapath.ts';

/** The calls it needs of native (native/include/ipop.h, "streams", "identity, hashes, random"). */
export interface ServiceCalls {
  openStream(config: Uint8Array): number;
  writeStream(stream: number, data: Uint8Array): void;
  closeStream(stream: number): void;
  lookupSrv(config: Uint8Array): number;
  pbkdf2(algorithm: HashName, password: Uint8Array, salt: Uint8Array, rounds: number): number;
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

export class Services {
  readonly #calls: ServiceCalls;
  // Bounded by native: at most 16 streams, 8 derivations and 8 look-ups.
  readonly #streams = new Map<number, ByteStreamHandlers>();
  readonly #derivations = new Map<number, Waiting<Uint8Array>>();
  readonly #lookups = new Map<number, Waiting<readonly SrvRecord[]>>();

  constructor(calls: ServiceCalls) {
    this.#calls = calls;
  }

  /** Opens a TLS stream; what becomes of it comes to the handlers, `onClosed` once and last. Throws NativeError when it cannot even start. */
  openStream(target: StreamTarget, handlers: ByteStreamHandlers): ByteStream {
    const stream = this.#calls.openStream(
      writeTextMap({
        host: target.host,
        port: target.port,
        name: target.name,
        ca: target.caFile,
        pin: target.pin,
        tls: target.tls,
        // XEP-0368; STARTTLS knows no such thing.
        alpn: target.tls === 'direct' ? 'xmpp-client' : undefined,
        timeout_ms: target.timeoutMs,
      }),
    );
    this.#streams.set(stream, handlers);
    return {
      write: (data) => this.#calls.writeStream(stream, data),
      close: () => {
        if (this.#streams.has(stream)) this.#calls.closeStream(stream);
      },
    };
  }

  /** RFC 8018 PBKDF2 on a native thread. */
  pbkdf2(algorithm: HashName, password: Uint8Array, salt: Uint8Array, rounds: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) =>
      this.#derivations.set(this.#calls.pbkdf2(algorithm, password, salt, rounds), {resolve, reject}),
    );
  }

  /** The SRV records of a name (RFC 2782) by a native thread; rejects with the code `dns` when no name server answers. */
  lookupSrv(name: string, timeoutMs: number): Promise<readonly SrvRecord[]> {
    return new Promise((resolve, reject) => {
      const request = this.#calls.lookupSrv(writeTextMap({name, timeout_ms: timeoutMs}));
      this.#lookups.set(request, {resolve, reject});
    });
  }

  /** Takes the events that answer its calls; false: not for it. */
  handleEvent(event: NativeEvent): boolean {
    switch (event.type) {
      case 'stream-open':
        this.#streams.get(event.stream)?.onOpen({
          address: event.info['address'] ?? '',
          tls: event.info['tls'] ?? '',
          exporter: event.info['exporter'] ?? '',
        });
        return true;
      case 'stream-data':
        this.#streams.get(event.stream)?.onData(event.data);
        return true;
      case 'stream-closed': {
        const handlers = this.#streams.get(event.stream);
        this.#streams.delete(event.stream);
        handlers?.onClosed(event.code, event.text);
        return true;
      }
      case 'pbkdf2':
        this.#derivations.get(event.request)?.resolve(event.key);
        this.#derivations.delete(event.request);
        return true;
      case 'srv': {
        const waiting = this.#lookups.get(event.request);
        this.#lookups.delete(event.request);
        if (event.error) waiting?.reject(new IpopError(event.error.code, event.error.text));
        else waiting?.resolve(event.records);
        return true;
      }
      default:
        return false;
    }
  }

  /** Records were lost: a stream with a hole in it is of no use, a key may never come; so all are ended and their owners told. */
  handleGap(): void {
    for (const [stream, handlers] of [...this.#streams]) {
      this.#streams.delete(stream);
      this.#calls.closeStream(stream);
      handlers.onClosed('overflow', 'records of this stream were lost');
    }
    for (const {reject} of this.#derivations.values()) reject(new Error('the record with the key was lost'));
    this.#derivations.clear();
    for (const {reject} of this.#lookups.values()) reject(new Error('the record with the answer of DNS was lost'));
    this.#lookups.clear();
  }
}
