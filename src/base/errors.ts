// SPDX-License-Identifier: MIT

/**
 * A failure with a stable code (for programs and health) and a sentence (for people): action first, values quoted, no full stop.
 * The last error stays on the object it belongs to and shows in status.
 */
export class IpopError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'IpopError';
    this.code = code;
  }
}

/** The sentence of anything that was thrown (quickjs may throw null when memory is short). */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : `${thrown}`;
}

/** What a question gives; undefined when it fails, as when what it is about has just gone. */
export function answerOf<T>(question: () => T): T | undefined {
  try {
    return question();
  } catch {
    return undefined;
  }
}
