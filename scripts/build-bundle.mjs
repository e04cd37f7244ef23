// SPDX-License-Identifier: MIT
// Bundles src/main.ts and the packages it uses into dist/ipop.js, one ES module for every runtime.

import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {build} from 'esbuild';

const BUNDLE = 'dist/ipop.js';
const {version} = JSON.parse(readFileSync('package.json', 'utf8'));

const {outputFiles} = await build({
  entryPoints: ['src/main.ts'],
  bundle: true,
  platform: 'neutral',
  // Without these `events` and `ltx`, which are CommonJS, are not found.
  mainFields: ['module', 'main'],
  // Modules of txiki.js, asked for only there.
  external: ['tjs:*'],
  format: 'esm',
  target: 'es2023',
  minify: true,
  legalComments: 'none',
  define: {IPOP_VERSION: JSON.stringify(version)},
  write: false,
  logLevel: 'warning',
  // esbuild has said already what is wrong.
}).catch(() => process.exit(1));

const bundle = outputFiles[0].contents;
mkdirSync('dist', {recursive: true});
// An equal file keeps its time, so cargo need not build again.
if (!isSame(bundle)) writeFileSync(BUNDLE, bundle);

function isSame(contents) {
  try {
    return readFileSync(BUNDLE).equals(contents);
  } catch {
    return false;
  }
}
