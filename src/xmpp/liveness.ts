// SPDX-License-Identifier: MIT
// Is the server still there? A small question after silence, or at once when the network changed.

/** Silence after which the server is asked. Home routers forget idle TCP mappings after minutes. */
const IDLE_MS = 30_000;
const ANSWER_LIMIT_MS = 10_000;
/** After a change of the network the stream is most likely dead: find out soon. */
export const PROBE_LIMIT_MS = 4_000;

export interface LivenessDeps {
  after(delayMs: number, callback: () => void): () => void;
  /** Asks the server for a sign of life. */
  ask(): void;
  onDead(limitMs: number): void;
}

/** Watches one connection, from its creation to `stop`. */
export class Liveness {
  readonly #deps: LivenessDeps;
  #cancelIdle: (() => void) | undefined;
  #cancelAnswer: (() => void) | undefined;
  #answerLimitMs = Number.POSITIVE_INFINITY;

  constructor(deps: LivenessDeps) {
    this.#deps = deps;
    this.onHeard();
  }

  /** Something came from the server: it need not be asked for a while. It does not answer a question already asked. */
  onHeard(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = this.#deps.after(IDLE_MS, () => {
      this.onHeard();
      this.ask(ANSWER_LIMIT_MS);
    });
  }

  /** The server answered. */
  onAnswer(): void {
    this.#cancelAnswer?.();
    this.#cancelAnswer = undefined;
    this.#answerLimitMs = Number.POSITIVE_INFINITY;
  }

  /** Asks, unless an answer is due sooner anyway. */
  ask(limitMs: number): void {
    if (this.#cancelAnswer && this.#answerLimitMs <= limitMs) return;
    this.onAnswer();
    this.#answerLimitMs = limitMs;
    this.#cancelAnswer = this.#deps.after(limitMs, () => this.#deps.onDead(limitMs));
    this.#deps.ask();
  }

  stop(): void {
    this.onAnswer();
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
  }
}
