// SPDX-License-Identifier: MIT
// The cores' own tests on quickjs-ng, inside txiki.js: the same tests pass there as on Node.

import {mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import {build} from 'esbuild';
import {run} from '../lab/exec.ts';
import {LIBRARY} from '../lab/ipopd.ts';
import {pool} from '../lab/wait.ts';
import {prepareTjs, TJS} from './prepare.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const avaStandIn = join(root, 'tests/runtime/ava-stand-in.ts');
const nodeStandIn = join(root, 'tests/runtime/node-stand-in.ts');
const SUITE = 'tests/unit';
/** These read files of the tree, or run a program. */
const NODE_ONLY = [
  'tests/unit/native/native.test.ts',
  'tests/unit/runtime/txiki.test.ts',
  'tests/unit/status/status.test.ts',
  'tests/unit/uci/config.test.ts',
  'tests/unit/uci/docs.test.ts',
];
/** The session has timers of its own; on quickjs-ng it runs in the lab. */
const NO_CORES = /^xmpp\//;
/** The npm binary is an unoptimised build, and property tests are long. */
const FILE_MS = 300_000;

const folder = mkdtempSync(join(tmpdir(), 'ipop-cores-'));
test.after.always(() => rmSync(folder, {recursive: true, force: true}));

test.serial('the cores’ tests pass on quickjs-ng, the same as on Node, none more and none less', async (t) => {
  t.timeout(600_000);
  prepareTjs();
  const files = readdirSync(join(root, SUITE), {recursive: true, encoding: 'utf8'})
    .filter((name) => name.endsWith('.test.ts') && !NO_CORES.test(name))
    .map((name) => join(SUITE, name));
  const bundles = await Promise.all(files.map(bundle));
  const pure = bundles.filter((one) => !one.needsNode);
  t.deepEqual(
    bundles
      .filter((one) => one.needsNode)
      .map(({file}) => file)
      .sort(),
    NODE_ONLY,
  );
  const onNode = await passedOnNode(pure.map(({file}) => file));
  const onQuickjs = (
    await pool(
      2,
      pure.map((one) => () => passedOnQuickjs(one)),
    )
  ).flat();
  t.deepEqual(onQuickjs.sort(), onNode.sort());
  t.true(onNode.length > 100, `${onNode.length} tests`);
  t.log(`${onQuickjs.length} tests of ${pure.length} files`);
});

interface Bundle {
  readonly file: string;
  readonly program: string;
  readonly needsNode: boolean;
}

/** One program of a test file, with a stand-in for ava. */
async function bundle(file: string, number: number): Promise<Bundle> {
  const program = join(folder, `${number}.js`);
  const keys = join(folder, `${number}.keys`);
  const entry = `
    import {runOnHost} from ${JSON.stringify(join(root, 'src/runtime/current.ts'))};
    import {runTests} from ${JSON.stringify(avaStandIn)};
    import {useHost} from ${JSON.stringify(nodeStandIn)};
    runOnHost((host) => {
      useHost(host, ${JSON.stringify(keys)}, ${FILE_MS});
      import(${JSON.stringify(join(root, file))})
        .then(() => runTests((line) => host.out(line + '\\n')))
        .then((failed) => host.exit(failed > 0 ? 1 : 0));
    });`;
  const {metafile} = await build({
    stdin: {contents: entry, resolveDir: root, loader: 'ts'},
    bundle: true,
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['import'],
    format: 'esm',
    target: 'es2023',
    alias: {ava: avaStandIn, 'node:crypto': nodeStandIn},
    define: {IPOP_VERSION: '"0"'},
    external: ['tjs:*', 'node:*'],
    outfile: program,
    metafile: true,
    logLevel: 'error',
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  return {file, program, needsNode: imports.some(({path}) => path.startsWith('node:'))};
}

async function passedOnQuickjs({file, program}: Bundle): Promise<string[]> {
  const argv = ['/usr/bin/env', `IPOP_LIBRARY=${LIBRARY}`, TJS, 'run', program];
  const {code, stdout, stderr} = await run(argv, {timeoutMs: FILE_MS});
  if (code !== 0) throw new Error(`${file} on quickjs-ng ended with ${code}:\n${stderr}\n${stdout}`);
  return [...stdout.matchAll(/^ok \d+ - (.*)$/gm)].map(([, title]) => title!);
}

async function passedOnNode(files: readonly string[]): Promise<string[]> {
  const argv = [process.execPath, join(root, 'node_modules/ava/entrypoints/cli.mjs'), '--tap', ...files];
  const {code, stdout} = await run(argv, {timeoutMs: 300_000});
  if (code !== 0) throw new Error(stdout);
  return [...stdout.matchAll(/^ok \d+ - (.*)$/gm)].map(([, title]) => withoutFile(title!));
}

/** With several files ava puts folders and name before the title; no title has this sign. */
function withoutFile(title: string): string {
  return title.split(' › ').at(-1)!;
}
