// SPDX-License-Identifier: MIT
// Runs the suites one after another and adds up what each runner counted. A suite that counts nothing has failed.
// `--full`: those that take longer than `npm test` may, instead.

import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Suite {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Record<string, string>;
  /** Why the suite cannot run here; in CI that is a failure. */
  readonly blocked?: string | undefined;
  /** Adds what one line of output says to the counts. */
  count(line: string, counts: Counts): void;
}

const root = process.getuid?.() === 0;
// npm puts node_modules/.bin first, where a bundler's tool is called nft: it would swallow firewall rules without a word.
const path = (process.env['PATH'] ?? '')
  .split(':')
  .filter((folder) => !folder.endsWith('node_modules/.bin'))
  .join(':');
const ava = (...args: string[]): string[] => ['node_modules/.bin/ava', '--tap', ...args];
const needsRoot = root ? undefined : 'needs root (network namespaces): run it with sudo';

/** TAP (ava): one line for each test at the top level. */
function countTap(line: string, counts: Counts): void {
  if (/^ok \d+ .*# (SKIP|TODO)/.test(line)) counts.skipped++;
  else if (/^ok \d+/.test(line)) counts.passed++;
  else if (/^not ok \d+/.test(line)) counts.failed++;
}

/** scripts/fuzz: a line for each target. */
function countFuzz(line: string, counts: Counts): void {
  const target = /^(\S+) +\d+ inputs, .* (\d+) found$/.exec(line);
  // All of them come again at the end.
  if (!target || fuzzed.has(target[1]!)) return;
  fuzzed.add(target[1]!);
  if (target[2] === '0') counts.passed++;
  else counts.failed++;
}
const fuzzed = new Set<string>();

/** cargo test: a summary for each test binary. */
function countCargo(line: string, counts: Counts): void {
  const summary = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
  if (!summary) return;
  counts.passed += Number(summary[1]);
  counts.failed += Number(summary[2]);
  counts.skipped += Number(summary[3]);
}

const quick: readonly Suite[] = [
  {name: 'unit', command: ava(), count: countTap},
  {
    name: 'contract',
    command: ava('--config', 'tests/contract/ava.config.js'),
    env: {IPOP_REQUIRE_NATIVE: '1'},
    count: countTap,
  },
  {
    name: 'native',
    command: ['cargo', 'test', '--locked', '--workspace', '--manifest-path', 'native/Cargo.toml', '--no-fail-fast'],
    count: countCargo,
  },
  {
    name: 'lab',
    command: [
      'cargo',
      'test',
      '--locked',
      '--manifest-path',
      'tests/lab/wan/Cargo.toml',
      '--target-dir',
      'build/lab-wan',
    ],
    count: countCargo,
  },
  // What fuzzing has found worth keeping, once more (docs/FUZZING.md).
  {name: 'corpus', command: ava('--config', 'tests/fuzz/ava.config.js'), count: countTap},
  {
    name: 'corpus-native',
    command: [
      'cargo',
      'test',
      '--locked',
      '--manifest-path',
      'native/fuzz/Cargo.toml',
      '--target-dir',
      'build/native-fuzz',
      '--no-fail-fast',
    ],
    count: countCargo,
  },
  {name: 'integration', command: ava('--config', 'tests/integration/ava.config.js'), count: countTap},
  {
    name: 'runtime',
    command: ava('--config', 'tests/runtime/ava.config.js'),
    blocked: process.arch === 'x64' ? undefined : 'needs x86-64: there is no other txiki.js on npm',
    count: countTap,
  },
  {name: 'package', command: ava('--config', 'tests/package/ava.config.js'), count: countTap},
  {name: 'e2e', command: ava('--config', 'tests/e2e/ava.config.js'), blocked: needsRoot, count: countTap},
];

const e2e = ['--config', 'tests/e2e/ava.config.js'];
const full = ['--config', 'tests/full/ava.config.js'];
/** What the main job is made of; the other files are about faults, or need Prosody's log. */
const MAIN = ['main-job', 'recovery', 'two-networks', 'reload', 'ssrc', 'wan-link'];
const onX64 = process.arch === 'x64' ? undefined : 'needs x86-64: there is no other txiki.js on npm';

const long: readonly Suite[] = [
  // One site of every end-to-end test runs on the other runtime.
  {
    name: 'e2e-txiki',
    command: ava(...e2e),
    env: {IPOP_TXIKI_SITE: 'boat'},
    blocked: needsRoot ?? onX64,
    count: countTap,
  },
  {
    name: 'e2e-ejabberd',
    command: ava(...e2e, ...MAIN.map((name) => `tests/e2e/${name}.test.ts`)),
    env: {IPOP_LAB_SERVER: 'ejabberd'},
    blocked: needsRoot,
    count: countTap,
  },
  {
    name: 'e2e-ejabberd-txiki',
    command: ava(...e2e, ...MAIN.map((name) => `tests/e2e/${name}.test.ts`)),
    env: {IPOP_LAB_SERVER: 'ejabberd', IPOP_TXIKI_SITE: 'boat'},
    blocked: needsRoot ?? onX64,
    count: countTap,
  },
  // Frames by the million, links by the hundred, paths that change for minutes.
  {
    name: 'frames',
    command: [
      'cargo',
      'test',
      '--release',
      '--locked',
      '--manifest-path',
      'native/Cargo.toml',
      '-p',
      'ipop-link',
      '--',
      '--ignored',
      '--test-threads=1',
    ],
    blocked: needsRoot,
    count: countCargo,
  },
  // Links and reloads by the thousand.
  {
    name: 'churn',
    command: ava(...full, 'tests/full/growth.test.ts', 'tests/full/churn*.test.ts'),
    env: {IPOP_REQUIRE_NATIVE: '1'},
    blocked: needsRoot,
    count: countTap,
  },
  {
    name: 'faults',
    command: ava(...full, 'tests/full/*.test.ts', '!tests/full/churn*.test.ts', '!tests/full/growth.test.ts'),
    blocked: needsRoot,
    count: countTap,
  },
  // Every crate with unsafe code, under AddressSanitizer, which rustc has but does not call stable; optimised a little, as it takes time.
  // Libraries in C and C++ keep memory of their own for good, so what leaks is for the suites above to find.
  {
    name: 'sanitizer',
    command: [
      'cargo',
      'test',
      '--locked',
      '--manifest-path',
      'native/Cargo.toml',
      '--workspace',
      '--lib',
      '--target',
      `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-gnu`,
      '--target-dir',
      'build/sanitizer',
    ],
    env: {
      RUSTC_BOOTSTRAP: '1',
      RUSTFLAGS: '-Zsanitizer=address',
      ASAN_OPTIONS: 'detect_leaks=0',
      CARGO_PROFILE_DEV_OPT_LEVEL: '1',
    },
    count: countCargo,
  },
  // Ten minutes for each, as `npm run fuzz` gives them, would be five hours.
  {name: 'fuzz', command: ['scripts/fuzz', '--seconds', '60'], count: countFuzz},
];

async function run(suite: Suite): Promise<Counts> {
  const counts: Counts = {passed: 0, failed: 0, skipped: 0};
  console.log(`\n== ${suite.name}`);
  if (suite.blocked) {
    console.log(`${process.env['CI'] ? 'FAILED' : 'SKIPPED'}: ${suite.name} ${suite.blocked}`);
    counts[process.env['CI'] ? 'failed' : 'skipped'] = 1;
    return counts;
  }
  const [program = '', ...args] = suite.command;
  const child = spawn(program, args, {
    env: {...process.env, PATH: path, ...suite.env},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({input: child.stdout});
  lines.on('line', (line) => {
    console.log(line);
    suite.count(line, counts);
  });
  const drained = new Promise<void>((resolve) => lines.once('close', resolve));
  const code = await new Promise<number>((resolve) => {
    child.once('error', (error) => {
      console.log(`cannot run ${program}: ${error.message}`);
      resolve(127);
    });
    child.once('exit', (status) => resolve(status ?? 1));
  });
  await drained;
  if ((code !== 0 || counts.passed === 0) && counts.failed === 0) {
    console.log(`FAILED: suite ${suite.name} ended with exit code ${code} after ${counts.passed} passed tests`);
    counts.failed = 1;
  }
  return counts;
}

const args = process.argv.slice(2);
const suites = args.includes('--full') ? long : quick;
const wanted = args.filter((name) => name !== '--full');
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`No suite named ${unknown.join(', ')}; there are: ${suites.map((suite) => suite.name).join(', ')}`);
  process.exit(64);
}
const total: Counts = {passed: 0, failed: 0, skipped: 0};
const summary: string[] = [];
for (const suite of suites.filter((one) => wanted.length === 0 || wanted.includes(one.name))) {
  const start = Date.now();
  const counts = await run(suite);
  const seconds = Math.round((Date.now() - start) / 1000);
  summary.push(
    `${suite.name.padEnd(12)} ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped  (${seconds} s)`,
  );
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}
console.log(`\n${summary.join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exit(total.failed > 0 ? 1 : 0);
