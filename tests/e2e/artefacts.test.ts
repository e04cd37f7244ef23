// SPDX-License-Identifier: MIT
// What a failed test leaves to look at: logs, and the packets that crossed the internet and any other point that was asked for. A child run
// fails on purpose (failing/).
//
//   [ office-h1 ] --- br-lan [ office ] wan --- w1 [ internet ] srv --- [ server ]
//                        ^ captured: asked for        ^ captured: always

import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {run, type RunResult} from '../lab/exec.ts';
import {labTest} from './kit.ts';

const TREE = join(import.meta.dirname, '../..');
const ARTIFACTS = join(TREE, 'artifacts/ping.failing.ts');
const RUN_MS = 60_000;

async function runFailing(capture: string): Promise<RunResult> {
  const ava = [join(TREE, 'node_modules/.bin/ava'), '--tap', '--config', 'tests/e2e/failing/ava.config.js'];
  return await run(['env', '-C', TREE, `IPOP_CAPTURE=${capture}`, process.execPath, ...ava], {timeoutMs: RUN_MS});
}

/** What tcpdump reads in the files of a point. */
async function packets(folder: string, point: string): Promise<string> {
  const files = readdirSync(folder).filter((name) => name.startsWith(`${point}.pcap`));
  const read = await Promise.all(files.map((name) => run(['tcpdump', '-n', '-r', join(folder, name)])));
  return read.map(({stdout}) => stdout).join('');
}

labTest('a failed test leaves its logs and the packets of every recorded point, a passed one nothing', async (t) => {
  const {code, stdout} = await runFailing('office:br-lan');
  t.is(code, 1, stdout);
  t.regex(stdout, /^ok \d+ - this passes$/m);
  t.regex(stdout, /^not ok \d+ - this fails$/m);
  t.deepEqual(readdirSync(ARTIFACTS), ['this-fails']);
  const folder = join(ARTIFACTS, 'this-fails');
  t.true(stdout.includes(folder), 'the run says where');
  t.true(existsSync(join(folder, 'server-prosody.log')));
  t.true(existsSync(join(folder, 'server-coturn.log')));
  // Behind the NAT and before it; the echo's last reply, too.
  t.regex(await packets(folder, 'internet-any'), /198\.51\.100\.6 > 203\.0\.113\.10: ICMP echo request, .* seq 5,/);
  t.regex(await packets(folder, 'internet-any'), /203\.0\.113\.10 > 198\.51\.100\.6: ICMP echo reply, .* seq 5,/);
  t.regex(await packets(folder, 'office-br-lan'), /192\.168\.50\.11 > 203\.0\.113\.10: ICMP echo request, .* seq 5,/);
});

labTest('a point that is not there is told by name', async (t) => {
  const {code, stdout} = await runFailing('ofice:br-lan');
  t.is(code, 1);
  t.regex(stdout, /IPOP_CAPTURE: this lab has no namespace \W+ofice\W/);
  t.deepEqual(readdirSync(ARTIFACTS), ['build'], 'what the servers said is kept');
});
