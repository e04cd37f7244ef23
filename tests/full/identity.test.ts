// SPDX-License-Identifier: MIT
// A router that was cloned, account and key: the two take the server's connection from each other, a minute apart, and both say why.

import {cpSync, rmSync} from 'node:fs';
import {endWith, healthItem, labTest, startAll, TWO_SITES, untilStatus, worldOf} from '../e2e/kit.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';

const world = worldOf(import.meta.filename, [
  ...TWO_SITES,
  {name: 'cabin', index: 2, nat: 'port-restricted', hosts: 1},
]);
/** The one that was thrown out stands back for a minute. */
const BOTH_MS = 80_000;

labTest('two nodes with one account and one identity both say so, once each has been thrown out', async (t) => {
  const [office, boat, cabin] = groupOf(world(), 'clone@conference.example.org') as [IpopNode, IpopNode, IpopNode];
  const clone = new IpopNode(world(), cabin.site, boat.options);
  endWith(t, [office, boat, clone]);
  t.teardown(() => rmSync(clone.stateDir, {recursive: true, force: true}));
  await startAll([office, boat]);
  cpSync(boat.stateDir, clone.stateDir, {recursive: true});
  clone.start();
  const twice = (_: unknown, status: Parameters<typeof healthItem>[0]): boolean =>
    healthItem(status, 'identity-twice') !== undefined;
  const [first, second] = await Promise.all([boat, clone].map((node) => untilStatus(node, 'it', BOTH_MS, twice)));
  for (const {status} of [first!, second!]) {
    t.log(healthItem(status, 'identity-twice')?.text);
    t.regex(
      healthItem(status, 'identity-twice')?.text ?? '',
      /this node's identity, by this very account .*remove identity\.key/,
    );
    t.is(healthItem(status, 'xmpp-offline'), undefined, 'told once');
  }
  const {status} = await untilStatus(boat, 'it still', 1_000, twice);
  t.truthy(healthItem(status, 'identity-twice'), 'both at the same time');
});
