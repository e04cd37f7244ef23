// SPDX-License-Identifier: MIT
// A real coturn on the server host: STUN with behaviour discovery (RFC 5780: two addresses, two ports) and TURN.

import {Internet} from './internet.ts';
import type {Lab} from './lab.ts';
import type {Proc} from './proc.ts';
import {until} from './wait.ts';

const READY_MS = 10_000;

export class TurnServer {
  static readonly PORT = 3478;
  static readonly USER = 'ipop';
  static readonly PASSWORD = 'lab-turn-secret';
  /** Ports that it relays from. */
  static readonly RELAY_PORTS = {first: 49_152, last: 57_343} as const;

  readonly address = `${Internet.SERVER}:${TurnServer.PORT}`;
  readonly stun = `stun:${this.address}`;
  readonly turn = `turn:${TurnServer.USER}:${TurnServer.PASSWORD}@${this.address}`;
  readonly #internet: Internet;
  readonly #configFile: string;
  #proc: Proc | undefined;

  /** Prepares it; `start` starts it. */
  constructor(lab: Lab, internet: Internet) {
    this.#internet = internet;
    this.#configFile = lab.file(
      'turnserver.conf',
      `listening-ip=${Internet.SERVER}
listening-ip=${Internet.SERVER_2}
relay-ip=${Internet.SERVER}
listening-port=${TurnServer.PORT}
alt-listening-port=${TurnServer.PORT + 1}
min-port=${TurnServer.RELAY_PORTS.first}
max-port=${TurnServer.RELAY_PORTS.last}
lt-cred-mech
user=${TurnServer.USER}:${TurnServer.PASSWORD}
realm=example.org
userdb=${lab.dir}/turn.db
pidfile=${lab.dir}/turn.pid
no-tls
no-dtls
no-cli
log-file=stdout
simple-log
verbose
`,
    );
  }

  get proc(): Proc {
    if (this.#proc === undefined) throw new Error('The TURN server was never started.');
    return this.#proc;
  }

  /** Starts it and waits until it listens on both addresses. */
  async start(): Promise<void> {
    this.#proc = this.#internet.server.spawn('coturn', ['turnserver', '-c', this.#configFile]);
    const proc = this.#proc;
    await until('coturn to listen', READY_MS, () => {
      if (proc.ended !== undefined) throw new Error(`coturn ended: ${proc.log().slice(-500)}`);
      const listening = this.#internet.server.runSync(['ss', '-Hlun']);
      return [Internet.SERVER, Internet.SERVER_2].every((address) =>
        listening.includes(`${address}:${TurnServer.PORT} `),
      );
    });
  }

  async stop(): Promise<void> {
    await this.proc.stop();
  }
}
