// SPDX-License-Identifier: MIT
// A small Debian to install a .deb into: what is essential, and what the .deb says it needs, copied from this machine's packages. If the
// .deb left out a dependency, its program would not start in there.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {run, runOk, runSync, type RunResult} from '../lab/exec.ts';
import {makeDevices} from './kit.ts';

/** Paragraph of each installed package in dpkg's data base. */
function installedPackages(): Map<string, string> {
  const paragraphs = readFileSync('/var/lib/dpkg/status', 'utf8').split('\n\n');
  const installed = paragraphs.filter((text) => /^Status: install ok installed$/m.test(text));
  return new Map(installed.map((text) => [field(text, 'Package'), text]));
}

function field(paragraph: string, name: string): string {
  return new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1] ?? '';
}

/** Names in a list of dependencies, the alternatives that are there first. */
function namesIn(depends: string, has: (name: string) => boolean): string[] {
  const names = depends.split(',').map((one) => one.split('|').map((each) => each.trim().replace(/[ (:].*$/, '')));
  return names.map((choices) => choices.find(has) ?? choices[0] ?? '').filter((name) => name !== '');
}

/** Essential packages, these, and all that they need. */
function closure(wanted: readonly string[]): Map<string, string> {
  const installed = installedPackages();
  const providers = new Map<string, string>();
  for (const [name, text] of installed)
    for (const virtual of namesIn(field(text, 'Provides'), () => true)) providers.set(virtual, name);
  const has = (name: string): boolean => installed.has(name) || providers.has(name);
  const todo = [...wanted];
  for (const [name, text] of installed) if (field(text, 'Essential') === 'yes') todo.push(name);
  const chosen = new Map<string, string>();
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const name = installed.has(next) ? next : (providers.get(next) ?? '');
    const text = installed.get(name);
    if (text === undefined) throw new Error(`${next} is not installed on this machine`);
    if (chosen.has(name)) continue;
    chosen.set(name, text);
    todo.push(...namesIn(field(text, 'Depends'), has), ...namesIn(field(text, 'Pre-Depends'), has));
  }
  return chosen;
}

const MERGED = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];
const EMPTY = [
  'dev',
  'proc',
  'tmp',
  'run/systemd/system',
  'var/lib/dpkg/info',
  'var/lib/dpkg/updates',
  'var/lib/dpkg/triggers',
];
/** Records its calls, and answers as if nothing ran yet. Of what it should do it does what leaves traces on disk. */
const SYSTEMCTL = `#!/bin/sh
echo "systemctl $*" >> /calls
case "$*" in
  *is-active*) exit 3 ;;
  *is-enabled*) if [ -h "$WANTS/ipop.service" ]; then echo enabled; else echo disabled; exit 1; fi ;;
  *preset*) mkdir -p "$WANTS" && ln -s /lib/systemd/system/ipop.service "$WANTS" ;;
esac
`.replaceAll('$WANTS', '/etc/systemd/system/multi-user.target.wants');

export class Debian {
  private constructor(readonly root: string) {}

  /** Copies the system together, with all that this .deb depends on. */
  static async create(root: string, deb: string): Promise<Debian> {
    const depends = runSync(['dpkg-deb', '-f', deb, 'Depends']).trim();
    const packages = closure(namesIn(depends, () => true));
    for (const name of MERGED.filter((one) => existsSync(join('/usr', one)))) {
      mkdirSync(join(root, 'usr', name), {recursive: true});
      symlinkSync(join('usr', name), join(root, name));
    }
    for (const folder of EMPTY) mkdirSync(join(root, folder), {recursive: true});
    await copyFiles([...packages.keys()], root);
    writeFileSync(join(root, 'var/lib/dpkg/status'), `${[...packages.values()].join('\n\n')}\n`);
    makeDevices(root);
    const debian = new Debian(root);
    debian.write('usr/bin/systemctl', SYSTEMCTL, 0o755);
    return debian;
  }

  /** Runs a program in it, without network. */
  async run(...argv: readonly string[]): Promise<RunResult> {
    return await run(this.argv(...argv));
  }

  /** What to call so that a program runs in it, in a network namespace of its own. */
  argv(...argv: readonly string[]): string[] {
    const env = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C'];
    return [...env, 'unshare', '-n', `--mount-proc=${this.root}/proc`, 'chroot', this.root, ...argv];
  }

  /** Runs dpkg; returns what the package's scripts asked of systemd. Throws when dpkg fails. */
  async dpkg(...args: readonly string[]): Promise<string[]> {
    this.write('calls', '', 0o644);
    await runOk(this.argv('dpkg', ...args));
    return this.read('calls').trimEnd().split('\n').filter(Boolean);
  }

  /** Puts a package where `dpkg` in there finds it; returns its path in there. */
  bring(deb: string, name: string): string {
    copyFileSync(deb, join(this.root, name));
    return `/${name}`;
  }

  write(path: string, text: string, mode = 0o600): void {
    writeFileSync(join(this.root, path), text);
    chmodSync(join(this.root, path), mode);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  /** A link is there even if it leads nowhere from outside. */
  exists(path: string): boolean {
    return lstatSync(join(this.root, path), {throwIfNoEntry: false}) !== undefined;
  }
}

/** Files of packages, their lists, and what their scripts once made. */
async function copyFiles(packages: readonly string[], root: string): Promise<void> {
  const listed = (await runOk(['dpkg-query', '-L', ...packages])).split('\n');
  const made = [
    '/etc/passwd',
    '/etc/group',
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/alternatives/awk',
    '/usr/bin/awk',
  ];
  const arch = runSync(['dpkg', '--print-architecture']).trim();
  const lists = packages.flatMap((name) => [
    `/var/lib/dpkg/info/${name}.list`,
    `/var/lib/dpkg/info/${name}:${arch}.list`,
  ]);
  const merged = new RegExp(`^/(${MERGED.join('|')})$`);
  const wanted = [...listed, ...made, ...lists.filter((file) => existsSync(file))].filter(
    (path) => path.startsWith('/') && !merged.test(path) && !/^\/usr\/share\/(doc|man|locale|info)\//.test(path),
  );
  const list = join(root, 'tmp/files');
  writeFileSync(list, [...new Set(wanted)].filter((path) => path !== '/.' && existsSync(path)).join('\n'));
  // Through a shell's pipe: as the files of a folder's package, not the folder's whole content.
  const script = 'tar -C / --no-recursion --ignore-failed-read -cf - -T "$1" 2> /dev/null | tar -C "$2" -xpf -';
  await runOk(['bash', '-c', script, 'copy', list, root], {timeoutMs: 60_000});
}
