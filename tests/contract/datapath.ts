// SPDX-License-Identifier: MIT
// What every Datapath does: the real library and the fake run this one suite.

import type {TestFn} from 'ava';
import {Site, type Bench} from './bench.ts';
import {guardCases} from './guard-cases.ts';
import {portCases} from './port-cases.ts';
import {ruleCases} from './rule-cases.ts';
import {upcallCases} from './upcall-cases.ts';

/** Registers the suite. */
export function datapathContract(test: TestFn, name: string, openBench: () => Bench): void {
  for (const [title, run] of Object.entries({...upcallCases, ...portCases, ...ruleCases, ...guardCases})) {
    test.serial(`${name}: ${title}`, async (t) => {
      const site = new Site(openBench());
      try {
        await run(t, site);
      } finally {
        site.path.closeSwitch(site.sw);
      }
    });
  }
}
