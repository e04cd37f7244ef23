// SPDX-License-Identifier: MIT
// Aligned columns and units for people.

/** Longest cell, and longest cell of the last column; what is longer ends in an ellipsis. */
const CELL_LENGTH = 64;
const LAST_CELL_LENGTH = 160;

/**
 * Text that may come from peers, made safe for a terminal: control and formatting characters (which could move the cursor or turn the
 * writing direction) are taken out, and it is cut to `length` characters.
 */
export function printable(text: string, length: number = CELL_LENGTH): string {
  const characters = [...text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '')];
  return characters.length <= length ? characters.join('') : `${characters.slice(0, length - 1).join('')}…`;
}

/** Rows with columns as wide as their widest cell, three spaces between; the last column is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell, i) => printable(cell, i === row.length - 1 ? LAST_CELL_LENGTH : CELL_LENGTH)),
  );
  const widths: number[] = [];
  for (const row of cells) {
    for (const [i, cell] of row.slice(0, -1).entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  }
  const line = (row: readonly string[]) =>
    row.map((cell, i) => cell + ' '.repeat(Math.max(0, (widths[i] ?? 0) - width(cell))));
  return cells.map((row) => `${line(row).join('   ').trimEnd()}\n`).join('');
}

/** Decimal units: `0 B`, `820 kB`, `1.2 GB`. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  // 999.5 would round up to 1000 of the unit.
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  // 9.95 would round up to 10.0.
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

/** The two largest units: `42 s`, `12 m`, `2 h 55 m`, `3 d 4 h`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
  ];
  const two = (big: number, bigUnit: string, small: number, smallUnit: string) =>
    small > 0 ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
  if (days > 0) return two(days, 'd', hours, 'h');
  if (hours > 0) return two(hours, 'h', minutes, 'm');
  return minutes > 0 ? `${minutes} m` : `${whole} s`;
}

/** 1st, 2nd, 3rd, 4th, 11th... */
export function ordinal(n: number): string {
  const tens = n % 100;
  const suffix = tens >= 11 && tens <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${suffix}`;
}

function width(text: string): number {
  return [...text].length;
}
