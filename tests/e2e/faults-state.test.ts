// SPDX-License-Identifier: MIT
// Faults of the state folder: a full disk and one that may not be written. ipopd sees a small file system of its own there.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            the fault: the disk of office
//                                       |
//                        server host (Prosody, coturn)

import {cpSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {runOk} from '../lab/exec.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {allLinked, endWith, healthItem, labTest, TWO_SITES, untilStatus, worldOf} from './kit.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
/** One page for each of two files; what is left is filled with a third. */
const MOUNT = ['-t', 'tmpfs', '-o', 'size=12k,mode=0700', 'tmpfs'];
const STORE_AGAIN_MS = 12_000;

/** A command that mounts a file system over a folder, for its own processes only, fills or locks it, and goes on as the next command. */
function onDisk(folder: string, kept: string, spoil: string): readonly string[] {
  const script = [
    `mount --make-rprivate /`,
    `mount ${MOUNT.join(' ')} ${folder}`,
    // What an earlier life left.
    `cp -p ${kept}/* ${folder}/ 2>/dev/null || true`,
    spoil,
    'exec "$@"',
  ];
  return ['unshare', '--mount', 'sh', '-ec', script.join('\n'), 'sh'];
}

const FULL = (folder: string): string => `dd if=/dev/zero of=${folder}/filler bs=1k count=64 2>/dev/null || true`;
const LOCKED = (folder: string): string => `mount -o remount,ro ${folder}`;

/** Folders of a node with such a disk: where it is mounted, and what an earlier life left on it. */
function disk(name: string): {folder: string; kept: string} {
  return {folder: world().lab.folder(`${name}-state`), kept: world().lab.folder(`${name}-kept`)};
}

/** Runs a script where the daemon's disk is mounted. */
async function inside(node: IpopNode, script: string): Promise<string> {
  return await runOk(['nsenter', '--mount', `--target=${node.proc.pid}`, 'sh', '-ec', script]);
}

for (const [what, spoil, words] of [
  ['full', FULL, /No space left on device: free space there, or set option state_dir to another folder/],
  ['read-only', LOCKED, /Read-only file system: make its folder writable for ipopd, or set option state_dir/],
] as const) {
  labTest(`a first start on a ${what} disk says which file, why and what to do, and leaves no half file`, async (t) => {
    const {folder, kept} = disk(`first-${what}`);
    const listing = join(world().lab.dir, `${what}-listing`);
    // The file system goes with the daemon: what is on it is listed before.
    const list = ['sh', '-c', `"$@"; code=$?; ls -A ${folder} > ${listing}; exit $code`, 'sh'];
    const [office] = groupOf(world(), 'first@conference.example.org') as [IpopNode];
    const first = new IpopNode(world(), office.site, {
      ...office.options,
      main: {state_dir: folder},
      under: [...onDisk(folder, kept, spoil(folder)), ...list],
    });
    endWith(t, [first]);
    first.start();
    t.is(await first.proc.waitEnd(5_000), 'exit 1');
    const said = first.proc.log().trimEnd().split('\n').at(-1) ?? '';
    t.log(said);
    t.regex(said, /^error: cannot use this node's key: cannot write identity '\S+\/identity\.key': /);
    t.regex(said, words);
    t.is(readFileSync(listing, 'utf8'), what === 'full' ? 'filler\n' : '', 'no half file is left');
  });

  labTest(`a node whose key is there runs on a ${what} disk, says so, and links`, async (t) => {
    const {folder, kept} = disk(`kept-${what}`);
    const nodes = groupOf(world(), `kept-${what}@conference.example.org`) as [IpopNode, IpopNode];
    const [earlier, boat] = endWith(t, nodes);
    earlier.start();
    const [, id = ''] = await earlier.proc.waitLog(/node office \(([0-9a-f]{8})\)/, 5_000);
    await earlier.stop();
    cpSync(earlier.stateDir, kept, {recursive: true});
    const under = onDisk(folder, kept, spoil(folder));
    const node = new IpopNode(world(), earlier.site, {...earlier.options, main: {state_dir: folder}, under});
    endWith(t, [node]);
    node.start();
    boat.start();
    await allLinked([node, boat]);
    const {status} = await untilStatus(node, 'its status', 5_000, () => true);
    t.is(status.node.id.slice(0, 8), id, 'it is who it was');
    t.log(healthItem(status, 'state-not-stored')?.text);
    t.regex(
      healthItem(status, 'state-not-stored')?.text ?? '',
      /^cannot write '\S+\/boot': (No space left on device|Read-only file system): free space there, or make/,
    );
    t.is((await node.ipop('status')).code, 0, 'a warning');
    t.notRegex(await inside(node, `ls -A ${folder}`), /\.tmp/, 'no half file is left');
    if (what === 'full') {
      // Its way out, followed while it runs.
      await inside(node, `rm ${folder}/filler`);
      await until('the number to be stored', STORE_AGAIN_MS, async () => {
        const now = await node.status();
        return now !== undefined && healthItem(now, 'state-not-stored') === undefined;
      });
    }
  });
}
