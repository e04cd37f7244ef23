// SPDX-License-Identifier: MIT
// A server that breaks its XML: TLS in front of a real one, passing all through until told to slip something in. A program, so that it can
// run on the server host.
//
//   xml-proxy.ts PORT TARGET_HOST TARGET_PORT CERT_FILE KEY_FILE
// Reads lines of JSON: a string is sent as it is to every client that is connected; a pair of strings is replaced, the first by the
// second, in all that clients send from then on (each stanza comes in one piece, as ipop sends it).

import {readFileSync} from 'node:fs';
import {createInterface} from 'node:readline';
import {connect, createServer, type TLSSocket} from 'node:tls';

const [port = '', host = '', targetPort = '', certFile = '', keyFile = ''] = process.argv.slice(2);
const clients = new Set<TLSSocket>();
const rules: [string, string][] = [];
const rewrite = (text: string): string => rules.reduce((done, [from, to]) => done.replaceAll(from, to), text);

const server = createServer({cert: readFileSync(certFile), key: readFileSync(keyFile)}, (client) => {
  // The real server is on this very host; its certificate is the other test's business.
  const upstream = connect({
    host,
    port: Number(targetPort),
    servername: client.servername || host,
    rejectUnauthorized: false,
  });
  clients.add(client);
  client.on('data', (data: Buffer) => void upstream.write(Buffer.from(rewrite(data.toString('latin1')), 'latin1')));
  client.on('end', () => upstream.end());
  upstream.pipe(client);
  for (const socket of [client, upstream]) {
    socket.on('error', () => {});
    socket.on('close', () => {
      clients.delete(client);
      client.destroy();
      upstream.destroy();
    });
  }
});
server.listen(Number(port), () => console.log('listening'));

createInterface({input: process.stdin}).on('line', (line) => {
  const text = JSON.parse(line) as string | [string, string];
  if (typeof text !== 'string') {
    rules.push(text);
    return console.log(`replaces ${text[0]}`);
  }
  for (const client of clients) client.write(Buffer.from(text, 'latin1'));
  console.log(`slipped in to ${clients.size}`);
});
