// SPDX-License-Identifier: MIT
// Ratios of a run beside those of the baseline: which stages have become slow, and a table of all.

/** How much slower than the baseline, relative to the reference, is a failure. */
export const TOLERANCE = 0.15;

/** What a program says of a stage. */
export interface Measured {
  /** Group and stage. */
  readonly name: string;
  readonly nsPerCall: number;
  readonly count: number;
  readonly bytes: number;
  /** Its time as a multiple of the reference's. */
  readonly ratio: number;
}

export interface Baseline {
  /** Ratios of another CPU say nothing about this one. */
  readonly cpu: string;
  readonly node: string;
  readonly ratios: Readonly<Record<string, number>>;
}

/** Reads a program's line: see native/bench/src/main.rs. Throws an Error with a line that has another form. */
export function parseLine(group: string, line: string): Measured {
  const [name = '', ...fields] = line.split('\t');
  const [nsPerCall = NaN, count = NaN, bytes = NaN, ratio = NaN] = fields.map(Number);
  const good = fields.length === 4 && [nsPerCall, count, bytes, ratio].every((n) => Number.isFinite(n) && n > 0);
  if (!good) throw new Error(`this is no measurement of a stage: '${line}'`);
  return {name: `${group}: ${name}`, nsPerCall, count, bytes, ratio};
}

/** Stages slower than the baseline allows. */
export function slowOnes(measured: readonly Measured[], baseline: Baseline): Measured[] {
  return measured.filter(({name, ratio}) => ratio > (baseline.ratios[name] ?? Infinity) * (1 + TOLERANCE));
}

/** What of the baseline does not fit the stages there are; it must be made anew then. */
export function misfits(measured: readonly Measured[], baseline: Baseline): string[] {
  const names = new Set(measured.map(({name}) => name));
  return [
    ...[...names].filter((name) => baseline.ratios[name] === undefined).map((name) => `${name}: not in the baseline`),
    ...Object.keys(baseline.ratios)
      .filter((name) => !names.has(name))
      .map((name) => `${name}: in the baseline, but no stage any more`),
  ];
}

/** The better of two measurements of each stage. */
export function better(first: readonly Measured[], again: readonly Measured[]): Measured[] {
  return first.map((one) => again.find(({name, ratio}) => name === one.name && ratio < one.ratio) ?? one);
}

/** For each stage the run in the middle of several: what is neither luck nor misfortune. */
export function middle(runs: readonly (readonly Measured[])[]): Measured[] {
  return (runs[0] ?? []).map(({name}) => {
    const all = runs.flatMap((run) => run.filter((one) => one.name === name)).sort((a, b) => a.ratio - b.ratio);
    return all[all.length >> 1]!;
  });
}

/** The table: a line for each stage, with ns for a frame and a byte, its ratio, and how that is beside the baseline. */
export function table(measured: readonly Measured[], baseline: Baseline | undefined): string {
  const rows = measured.map(({name, nsPerCall, count, bytes, ratio}) => {
    const before = baseline?.ratios[name];
    const change = before === undefined ? '' : `${signed(100 * (ratio / before - 1))} %`;
    const isSlow = before !== undefined && ratio > before * (1 + TOLERANCE);
    const time = [(nsPerCall / count).toFixed(1), (nsPerCall / bytes).toFixed(3)];
    return [name, ...time, ratio.toFixed(4), before?.toFixed(4) ?? '-', change, isSlow ? 'SLOW' : ''];
  });
  const head = ['stage', 'ns/frame', 'ns/byte', 'ratio', 'baseline', 'change', ''];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}

function signed(percent: number): string {
  return `${percent < 0 ? '-' : '+'}${Math.abs(percent).toFixed(0)}`;
}
