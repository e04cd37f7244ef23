// SPDX-License-Identifier: MIT
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import test from 'ava';

test('docs/CONFIG.md is what the table of options gives', (t) => {
  const script = fileURLToPath(new URL('../../../scripts/docs.ts', import.meta.url));
  const {status, stderr} = spawnSync(process.execPath, ['--import=tsx', script, '--check'], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  t.is(status, 0, stderr);
});
