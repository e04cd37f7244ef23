// SPDX-License-Identifier: MIT
// What a lab made, in the order it was made, and how to undo each of it.

interface Step {
  readonly what: string;
  readonly undo: () => void;
}

/** A stack of undo steps. They are synchronous so that they also run while the process exits. */
export class Cleanup {
  readonly #steps: Step[] = [];

  /** Registers how to undo `what`. Call it before the thing is made: an interruption in between must not leak it. */
  add(what: string, undo: () => void): void {
    this.#steps.push({what, undo});
  }

  /** Undoes everything, newest first. A step that fails does not stop the others; what failed is returned in words. */
  run(): string[] {
    const failures: string[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step.undo();
      } catch (error) {
        failures.push(`Cannot clean up ${step.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return failures;
  }

  /** Forgets everything without undoing it: the lab is left standing on purpose. */
  abandon(): void {
    this.#steps.length = 0;
  }
}
