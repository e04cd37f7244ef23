// SPDX-License-Identifier: MIT
// Scripts and unit that go into packages, by their checkers.

import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {run, runSync} from '../lab/exec.ts';
import {DIST, TREE} from './kit.ts';

const FILES = runSync([
  'git',
  '-C',
  TREE,
  'ls-files',
  '-co',
  '--exclude-standard',
  'openwrt',
  'packaging',
  'tests/package/router',
])
  .trimEnd()
  .split('\n')
  .filter((file) => readFileSync(join(TREE, file), 'utf8').startsWith('#!/bin/sh'));

test('every script of the packages passes shellcheck', async (t) => {
  t.true(FILES.includes('openwrt/files/etc/init.d/ipop') && FILES.includes('packaging/debian/postinst'));
  // It wants paths relative to the tree.
  const {stdout} = await run(['env', '-C', TREE, 'shellcheck', '-x', ...FILES, 'scripts/package']);
  t.is(stdout, '');
});

test('every script of the packages has the form that shfmt gives it', async (t) => {
  const {stdout, stderr, code} = await run([
    'env',
    '-C',
    TREE,
    'shfmt',
    '-sr',
    '-s',
    '-ci',
    '-d',
    ...FILES,
    'scripts/package',
  ]);
  t.is(stdout + stderr, '');
  t.is(code, 0);
});

test('the OpenWrt scripts have the form that its own check asks for', (t) => {
  const files = FILES.filter((file) => file.startsWith('openwrt/')).map((file) => join(TREE, file));
  t.is(runSync(['shfmt', '-sr', '-s', '-d', ...files]), '');
});

test('no check is turned off as a whole', (t) => {
  for (const file of FILES) t.notRegex(readFileSync(join(TREE, file), 'utf8'), /disable=all/, file);
});

test('systemd finds nothing to say about the unit', async (t) => {
  // The program is not installed here; `verify` looks for it, and reads units only by their own name.
  const unit = join(TREE, 'packaging/debian/ipop.service');
  const text = readFileSync(unit, 'utf8').replace('/usr/sbin/ipopd', join(DIST, 'ipopd'));
  const {stdout, stderr, code} = await run(
    [
      'sh',
      '-ec',
      'd=$(mktemp -d); trap "rm -rf $d" EXIT; cat > $d/ipop.service; systemd-analyze verify --man=no --recursive-errors=no $d/ipop.service',
    ],
    {input: text},
  );
  t.deepEqual([stdout.trim(), stderr.trim(), code], ['', '', 0]);
});

test('systemd does not start ipopd again after an exit code that another try cannot change', (t) => {
  const unit = readFileSync(join(TREE, 'packaging/debian/ipop.service'), 'utf8');
  const codes = [...readFileSync(join(TREE, 'src/run-daemon.ts'), 'utf8').matchAll(/EXIT_(?:USAGE|CONFIG) = (\d+)/g)];
  t.is(codes.length, 2);
  t.is(/^RestartPreventExitStatus=(.*)$/m.exec(unit)?.[1], codes.map(([, code]) => code).join(' '));
});
