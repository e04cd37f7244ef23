// SPDX-License-Identifier: MIT
// The part of ava that the cores' tests use, for runtimes where ava is not: tests one after another, results as lines of TAP.

type Body = (t: Assertions) => unknown;
interface Expectation {
  readonly instanceOf?: abstract new (...args: never[]) => unknown;
  readonly message?: string | RegExp;
  readonly code?: string;
}

const tests: {readonly title: string; readonly body: Body}[] = [];

/** As ava's: declares a test; space in its title is made even, as there. */
export default function test(name: string, body: Body): void {
  const title = name.trim().replace(/\s+/g, ' ');
  if (tests.some((other) => other.title === title)) throw new Error(`two tests are called '${title}'`);
  tests.push({title, body});
}
test.serial = test;

/** Runs all that were declared and hands over one line for each. Returns how many failed. */
export async function runTests(print: (line: string) => void): Promise<number> {
  let failed = 0;
  for (const [i, {title, body}] of tests.entries()) {
    const t = new Assertions();
    try {
      await body(t);
    } catch (error) {
      t.fail(error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
    }
    await t.end();
    if (t.failures.length > 0) failed++;
    print(`${t.failures.length > 0 ? 'not ok' : 'ok'} ${i + 1} - ${title}`);
    for (const failure of t.failures) print(failure.replace(/^/gm, '  # '));
  }
  return failed;
}

class Assertions {
  readonly failures: string[] = [];
  readonly #teardowns: (() => unknown)[] = [];
  #asserted = 0;

  pass(): true {
    return this.#assert(true, '');
  }

  fail(message = 'failed'): boolean {
    return this.#assert(false, message);
  }

  is(actual: unknown, expected: unknown, message = ''): boolean {
    return this.#assert(Object.is(actual, expected), `${message}: ${show(actual)} is not ${show(expected)}`);
  }

  not(actual: unknown, unwanted: unknown, message = ''): boolean {
    return this.#assert(!Object.is(actual, unwanted), `${message}: it is ${show(unwanted)}`);
  }

  deepEqual(actual: unknown, expected: unknown, message = ''): boolean {
    return this.#assert(isEqual(actual, expected), `${message}: ${show(actual)} does not equal ${show(expected)}`);
  }

  like(actual: unknown, expected: object, message = ''): boolean {
    return this.#assert(isLike(actual, expected), `${message}: ${show(actual)} is not like ${show(expected)}`);
  }

  true(actual: unknown, message = ''): boolean {
    return this.is(actual, true, message);
  }

  false(actual: unknown, message = ''): boolean {
    return this.is(actual, false, message);
  }

  truthy(actual: unknown, message = ''): boolean {
    return this.#assert(Boolean(actual), `${message}: ${show(actual)}`);
  }

  regex(text: string, pattern: RegExp, message = ''): boolean {
    return this.#assert(pattern.test(text), `${message}: ${show(text)} does not match ${pattern}`);
  }

  notRegex(text: string, pattern: RegExp, message = ''): boolean {
    return this.#assert(!pattern.test(text), `${message}: ${show(text)} matches ${pattern}`);
  }

  throws(body: () => unknown, expected: Expectation = {}, message = ''): unknown {
    try {
      body();
    } catch (error) {
      return this.#expect(error, expected, message);
    }
    this.fail(`${message}: nothing was thrown`);
    return undefined;
  }

  async throwsAsync(body: Promise<unknown> | (() => Promise<unknown>), expected: Expectation = {}): Promise<unknown> {
    try {
      await (typeof body === 'function' ? body() : body);
    } catch (error) {
      return this.#expect(error, expected, '');
    }
    this.fail('nothing was thrown');
    return undefined;
  }

  notThrows(body: () => unknown): boolean {
    body();
    return this.pass();
  }

  async notThrowsAsync(body: Promise<unknown> | (() => Promise<unknown>)): Promise<boolean> {
    await (typeof body === 'function' ? body() : body);
    return this.pass();
  }

  teardown(body: () => unknown): void {
    this.#teardowns.push(body);
  }

  /** Tears down, and sees to it that something was asserted, as ava does. */
  async end(): Promise<void> {
    for (const body of this.#teardowns.reverse()) await body();
    if (this.#asserted === 0) this.fail('no assertion');
  }

  #expect(error: unknown, {instanceOf, message, code}: Expectation, what: string): unknown {
    const text = error instanceof Error ? error.message : String(error);
    if (!(error instanceof Error)) this.fail(`${what}: ${show(error)} is no error`);
    else if (instanceOf && !(error instanceof instanceOf)) this.fail(`${what}: another kind of error: ${text}`);
    else if (code !== undefined && (error as {code?: unknown}).code !== code) this.fail(`${what}: code of ${text}`);
    else if (typeof message === 'string') this.is(text, message, what);
    else if (message) this.regex(text, message, what);
    else this.pass();
    return error;
  }

  #assert<T extends boolean>(isGood: T, message: string): T {
    this.#asserted++;
    if (!isGood) this.failures.push(message.replace(/^: /, ''));
    return isGood;
  }
}

/** Same kinds, same values; the order of keys is no matter, that of Map and Set entries is. */
function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Map || a instanceof Set) return isEqual([...a], [...(b as Iterable<unknown>)]);
  const keys = keysOf(a);
  if (keys.length !== keysOf(b).length) return false;
  if (a instanceof Error && a.message !== (b as Error).message) return false;
  return keys.every((key) => Object.hasOwn(b, key) && isEqual(valueOf(a, key), valueOf(b, key)));
}

/** Every key of `expected` is in `actual`, with a value that is like it. */
function isLike(actual: unknown, expected: unknown): boolean {
  const isTree = Array.isArray(expected) || Object.getPrototypeOf(expected ?? 0) === Object.prototype;
  if (!isTree) return isEqual(actual, expected);
  if (typeof actual !== 'object' || actual === null) return false;
  if (Array.isArray(expected) && (actual as unknown[]).length !== expected.length) return false;
  return keysOf(expected as object).every((key) => isLike(valueOf(actual, key), valueOf(expected as object, key)));
}

function keysOf(value: object): string[] {
  return Object.keys(value);
}

function valueOf(value: object, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

function show(value: unknown): string {
  const plain = (_key: string, inner: unknown): unknown => {
    if (typeof inner === 'bigint') return `${inner}n`;
    if (inner instanceof Map || inner instanceof Set) return [...inner];
    return inner === undefined ? 'undefined' : inner;
  };
  try {
    return JSON.stringify(value, plain)?.slice(0, 2000) ?? String(value);
  } catch {
    return String(value); // it refers to itself
  }
}
