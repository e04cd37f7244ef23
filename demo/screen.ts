// SPDX-License-Identifier: MIT
// What the demo's reader sees: colours, progress lines that count the time, tables.

const terminal = process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';
const coloured = terminal && process.env['NO_COLOR'] === undefined;
const REDRAW_MS = 100;

const paint = (code: number) => (text: string) => (coloured ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);
export const cyan = paint(36);

/** Prints a line. */
export function say(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** Prints a headline. */
export function headline(text: string): void {
  say(`\n${bold(text)}`);
}

/** Length without colours. */
export function widthOf(text: string): number {
  return [...text.replace(/\x1b\[\d+m/g, '')].length;
}

/** Fills up to a width without colours. */
export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** Columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(...[cell, ...rows.map((row) => row[i] ?? '')].map(widthOf)));
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, i) => pad(cell, widths[i] ?? 0)).join('   ')}`.trimEnd();
  return [dim(line(head)), ...rows.map(line)].join('\n');
}

/** Seconds with one decimal. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export interface StepResult<T> {
  readonly value: T;
  readonly ms: number;
}

/**
 * Does one thing while a line tells what and for how long; `tell` replaces what the line says about its state.
 * At its end the line stays, with the time it took and what `done` makes of the result.
 */
export async function step<T>(
  title: string,
  work: (tell: (state: string) => void) => Promise<T>,
  done: (value: T) => {ok: boolean; text: string} = () => ({ok: true, text: ''}),
): Promise<StepResult<T>> {
  const start = performance.now();
  let state = '';
  const line = (mark: string, text: string): string =>
    `  ${mark} ${pad(title, 50)} ${seconds(performance.now() - start).padStart(7)}   ${text}`;
  const draw = (): void => {
    if (terminal) process.stdout.write(`\r\x1b[K${line(yellow('…'), clip(state))}`);
  };
  if (!terminal) say(`    ${title} ...`);
  const timer = setInterval(draw, REDRAW_MS);
  const finish = (mark: string, text: string): void => {
    clearInterval(timer);
    if (terminal) process.stdout.write('\r\x1b[K');
    say(line(mark, text));
  };
  draw();
  try {
    const value = await work((text) => (state = text));
    const {ok, text} = done(value);
    finish(ok ? green('✓') : red('✗'), ok ? text : red(text));
    return {value, ms: performance.now() - start};
  } catch (error) {
    finish(red('✗'), red((error as Error).message.split('\n')[0] ?? ''));
    throw error;
  }
}

/** One line of a terminal at most: a longer one could not be drawn over. */
function clip(text: string): string {
  const room = Math.max(10, (process.stdout.columns ?? 80) - 68);
  return text.length > room ? `${text.slice(0, room - 1)}…` : text;
}
