// SPDX-License-Identifier: MIT
// A power cut at any moment of a start: whatever of its writes is on the disk, the next start finds a whole state.

import {execFileSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import {hex} from '../../src/base/bytes.ts';
import {takeBoot} from '../../src/controller/boot.ts';
import {NativeError} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {type Crash, CrashDisk, lay, STRACE} from './crash-disk.ts';
import {koffiHost, nativeMissing} from './host-koffi.ts';

const missing = nativeMissing() ?? straceMissing();
const WRITER = fileURLToPath(new URL('state-writer.ts', import.meta.url));
const EBADMSG = 74;

function straceMissing(): string | undefined {
  try {
    execFileSync('strace', ['-f', '--seccomp-bpf', '-o', '/dev/null', 'true'], {stdio: 'pipe'});
    return undefined;
  } catch (error) {
    const reason = `strace does not run here: ${(error as Error).message.split('\n')[0]}`;
    if (process.env['CI'] !== undefined) throw new Error(reason);
    return reason;
  }
}

if (missing) {
  test.skip(`power cut: not tested, for ${missing}`, (t) => t.fail());
} else {
  const native = new Native(koffiHost().native);
  const folder = mkdtempSync(join(tmpdir(), 'ipop-power-'));
  const disk = join(folder, 'disk');
  const state = join(disk, 'state');
  let count = 0;

  test.before(() => mkdirSync(disk));
  test.after.always(() => rmSync(folder, {recursive: true, force: true}));

  /** One start of a node on `disk`, as strace saw it, and the marks it set. */
  const watchedStart = (): {trace: string; marks: string} => {
    const marks = join(folder, `marks${++count}`);
    mkdirSync(marks);
    const output = join(folder, 'trace');
    const [strace = '', ...options] = STRACE;
    execFileSync(strace, [...options, '-o', output, process.execPath, '--import', 'tsx', WRITER, state, marks], {
      stdio: 'pipe',
    });
    return {trace: readFileSync(output, 'utf8'), marks};
  };

  /** A start on what a power cut left: the key's public half, the boot number, what is in the folder then. */
  const startOn = (files: Crash['files']) => {
    const root = join(folder, `cut${++count}`);
    lay(files, disk, root);
    const there = join(root, 'state');
    const key = hex(native.openIdentity(join(there, 'identity.key')));
    const {boot, problem} = takeBoot(native, join(there, 'boot'), 0);
    const names = readdirSync(there).sort();
    rmSync(root, {recursive: true, force: true});
    return {key, boot, problem, names};
  };

  test.serial(
    'after a power cut at any moment of the first two starts the next one finds key and boot number whole',
    (t) => {
      let start = new Map<string, Buffer | 'folder'>();
      let before: {key: string; boot: number} | undefined;
      for (const round of [1, 2]) {
        const {trace, marks} = watchedStart();
        t.deepEqual(readdirSync(marks).sort(), [`boot-${round}`, 'identity'], 'the program did all it should');
        const made = startOn(read(state)).key;
        let cuts = 0;
        for (const {before: when, files, marks: set} of new CrashDisk(disk, marks, start).crashes(trace)) {
          const {key, boot, problem, names} = startOn(files);
          const what = `start ${round}, before ${when}, ${JSON.stringify([...files].map(([path, data]) => [path, data.toString('hex')]))}`;
          if (problem !== undefined || names.join() !== 'boot,identity.key')
            t.fail(`${what}: ${problem}, ${names.join()}`);
          const known = before?.key ?? (set.includes('identity') ? made : undefined);
          if (known !== undefined && key !== known) t.fail(`${what}: the key is lost`);
          const taken = set.includes(`boot-${round}`) ? round : (before?.boot ?? 0);
          if (boot <= taken) t.fail(`${what}: boot number ${boot} comes again`);
          cuts++;
        }
        t.log(`start ${round}: ${cuts} states`);
        t.true(cuts > (round === 1 ? 150 : 10), `${cuts} states`);
        start = read(state);
        before = {key: made, boot: round};
      }
    },
  );

  test.serial(
    'a key that is cut off at any byte, or ends in zeros, is told with the way out and left as it is',
    (t) => {
      const path = join(folder, 'cut.key');
      native.openIdentity(path);
      const whole = readFileSync(path);
      for (let length = 0; length < whole.length; length++) {
        for (const content of [
          whole.subarray(0, length),
          Buffer.concat([whole.subarray(0, length), Buffer.alloc(whole.length - length)]),
        ]) {
          if (content.equals(whole)) continue;
          writeFileSync(path, content);
          const error = t.throws(() => native.openIdentity(path), {instanceOf: NativeError});
          if (
            error.errno !== EBADMSG ||
            !error.message.includes(path) ||
            !error.message.includes('move it away to have a new one made')
          )
            t.fail(`${length} bytes: ${error.message}`);
          if (!readFileSync(path).equals(content)) t.fail(`${length} bytes: the file was changed`);
        }
      }
    },
  );

  test.serial('a boot file that is cut off at any byte stops nobody, and is whole after the next start', (t) => {
    const path = join(folder, 'boot');
    const wall = 1_700_000_000;
    const whole = Buffer.from(`${wall + 5}\n`);
    for (let length = 0; length <= whole.length; length++) {
      for (const content of [
        whole.subarray(0, length),
        Buffer.concat([whole.subarray(0, length), Buffer.alloc(whole.length - length)]),
      ]) {
        writeFileSync(path, content);
        const {boot, problem} = takeBoot(native, path, wall);
        if (problem !== undefined || boot < wall) t.fail(`${length} bytes: ${boot} ${problem}`);
        if (readFileSync(path, 'utf8') !== `${boot}\n`) t.fail(`${length} bytes: not stored`);
      }
    }
    t.pass();
  });

  function read(at: string): Map<string, Buffer | 'folder'> {
    const files = readdirSync(at).map((name) => [join(at, name), readFileSync(join(at, name))] as const);
    return new Map<string, Buffer | 'folder'>([[at, 'folder'], ...files]);
  }
}
