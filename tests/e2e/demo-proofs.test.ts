// SPDX-License-Identifier: MIT
// The demo's proofs can fail: on sites that nothing joins they do, and on sites joined by a plain wire exactly those
// fail that a wire cannot hold.
//
//   h1 -- br-lan [ left ] masquerade -- [ internet ] -- masquerade [ right ] br-lan -- h1
//           `-------------------- a plain wire, at first not there -------------------'

import test from 'ava';
import {PROOFS} from '../../demo/proofs.ts';
import type {Stage} from '../../demo/stage.ts';
import {Lab, whyNot} from '../lab/lab.ts';
import {connect, Netns} from '../lab/netns.ts';
import type {SiteOptions} from '../lab/site.ts';
import {World} from '../lab/world.ts';

const PLAN: readonly SiteOptions[] = [
  {name: 'left', index: 1, nat: 'port-restricted', hosts: 1},
  {name: 'right', index: 2, nat: 'port-restricted', hosts: 1},
];
const obstacle = whyNot();
if (obstacle !== undefined && process.env['CI'] !== undefined) throw new Error(obstacle);
const labTest = obstacle === undefined ? test.serial : test.serial.skip;

let lab: Lab;
let stage: Stage;

test.before(async () => {
  if (obstacle !== undefined) return;
  lab = Lab.open();
  const world = await World.build(lab, PLAN);
  stage = {world, nodes: [], nats: new Map(), pairs: [], usage: [], plain: undefined, linksMs: undefined};
});
test.after.always(() => lab?.close());

async function failing(): Promise<string[]> {
  const failed: string[] = [];
  for (const proof of PROOFS) {
    const {ok, failures} = await proof.run(stage, () => {});
    if (ok !== (failures.length === 0)) throw new Error(`${proof.title}: ${failures.length} failures, ok ${ok}`);
    if (!ok) failed.push(proof.title);
  }
  return failed;
}

labTest('where nothing joins the sites, every proof fails but the one that DHCP stays at home', async (t) => {
  const staysHome = PROOFS.filter((proof) => proof.title.startsWith('DHCP')).map((proof) => proof.title);
  t.is(staysHome.length, 1);
  t.deepEqual(
    await failing(),
    PROOFS.map((proof) => proof.title).filter((title) => !staysHome.includes(title)),
  );
});

labTest('on a plain wire all proofs hold but those on DHCP and on readable payload', async (t) => {
  const hub = Netns.create(lab, 'hub');
  hub.ip('link add wire type bridge', 'link set wire up');
  for (const site of stage.world.sites) {
    connect(hub, site.name, site.router, 'tap0');
    hub.ip(`link set ${site.name} master wire`);
    site.router.ip('link set tap0 master br-lan');
  }
  const strict = PROOFS.filter(({title}) => title.startsWith('DHCP') || title.startsWith('nothing readable'));
  t.is(strict.length, 2);
  t.deepEqual(
    await failing(),
    strict.map((proof) => proof.title),
  );
});
