// SPDX-License-Identifier: MIT
// A console for packages that complain to one. Our own code logs by `Log`.

const METHODS = ['debug', 'info', 'log', 'warn', 'error', 'trace'] as const;

/** Makes `console`: every method writes one line. */
export function installConsole(log: (method: string, line: string) => void): void {
  const methods = METHODS.map((method) => [method, (...args: unknown[]) => log(method, args.map(text).join(' '))]);
  Object.assign(globalThis, {console: Object.fromEntries(methods)});
}

function text(value: unknown): string {
  if (value instanceof Error) return value.stack ? `${value.message}\n${value.stack}` : value.message;
  try {
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  } catch {
    return 'a value without text';
  }
}
