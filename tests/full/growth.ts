// SPDX-License-Identifier: MIT
// Whether a figure grows: the straight line through its readings (least squares), once it has warmed up.

export interface Growth {
  /** Of the line, for one unit of `x`. */
  readonly slope: number;
  /** What the line gains from the first reading to the last. */
  readonly gain: number;
  readonly first: number;
  readonly last: number;
  readonly readings: number;
}

/** Fits `y` over `x` by least squares, without the first `warmUp` (a share, 0 to 1) of the readings. Needs 4 readings after that. */
export function growth(points: readonly {readonly x: number; readonly y: number}[], warmUp = 0.25): Growth {
  const used = points.slice(Math.ceil(points.length * warmUp));
  const [first, last] = [used[0], used.at(-1)];
  if (used.length < 4 || first === undefined || last === undefined)
    throw new Error(`${used.length} readings are too few to tell growth by; 4 are wanted.`);
  const mean = (of: (point: {x: number; y: number}) => number): number =>
    used.reduce((sum, point) => sum + of(point), 0) / used.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  const slope = mean((point) => (point.x - x) * (point.y - y)) / mean((point) => (point.x - x) ** 2);
  return {slope, gain: slope * (last.x - first.x), first: first.y, last: last.y, readings: used.length};
}
