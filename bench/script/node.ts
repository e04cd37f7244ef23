// SPDX-License-Identifier: MIT
// The stages on Node.

globalThis.bench = {
  nowNs: () => performance.now() * 1e6,
  args: process.argv.slice(2),
  out: (line) => void process.stdout.write(`${line}\n`),
};
await import('./main.ts');
export {};
