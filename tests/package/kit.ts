// SPDX-License-Identifier: MIT
// What the tests of the packages share: packages made of dist/ as it is, folders that become the root of a router or a Debian.

import {accessSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test, {type Implementation} from 'ava';
import {runOk, runSync} from '../lab/exec.ts';

export const TREE = fileURLToPath(new URL('../../', import.meta.url));
export const DIST = process.env['IPOP_DIST'] ?? join(TREE, 'dist');
/** Any time will do, as long as it is always the same. */
export const EPOCH_SEC = 1_700_000_000;
export const {version: VERSION} = JSON.parse(readFileSync(join(TREE, 'package.json'), 'utf8')) as {version: string};

/** Why no test that enters another root can run here; undefined: all can. */
export const obstacle = process.getuid?.() === 0 ? undefined : 'entering another root needs root: run it with sudo';
if (obstacle !== undefined && process.env['CI'] !== undefined) throw new Error(obstacle);
if (obstacle !== undefined) console.log(`skipped: ${obstacle}`);

/** Declares a test that runs alone; skipped, visibly, without root. */
export function rootTest(title: string, body: Implementation<[]>): void {
  (obstacle === undefined ? test.serial : test.serial.skip)(title, body);
}

/** A folder that is gone when the calling file's tests have ended. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ipop-package-'));
  test.after.always(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

export type Kind = 'ipk' | 'deb';

/** Has scripts/package make one package; returns its file. */
export async function makePackage(kind: Kind, out: string): Promise<string> {
  const script = join(TREE, 'scripts/package');
  const said = await runOk(
    ['env', `SOURCE_DATE_EPOCH=${EPOCH_SEC}`, script, '--dist', DIST, '--out', out, '--only', kind],
    {timeoutMs: 60_000},
  );
  return said.trimEnd();
}

/** Copies a program's libraries and its loader to the same places under another root. */
export function copyLibraries(program: string, root: string): void {
  for (const [, file = ''] of runSync(['ldd', program]).matchAll(/(\/\S+) \(0x/g)) {
    mkdirSync(join(root, dirname(file)), {recursive: true});
    copyFileSync(realpathSync(file), join(root, file));
  }
}

/** The device nodes that programs cannot do without, and the tap's. */
export function makeDevices(root: string): void {
  const devices = [
    ['null', '1', '3'],
    ['urandom', '1', '9'],
    ['net/tun', '10', '200'],
  ] as const;
  mkdirSync(join(root, 'dev/net'), {recursive: true});
  for (const [name, major, minor] of devices)
    runSync(['mknod', '-m', '0666', join(root, 'dev', name), 'c', major, minor]);
}

export function exists(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}
