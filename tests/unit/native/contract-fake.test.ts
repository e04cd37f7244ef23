// SPDX-License-Identifier: MIT
import test from 'ava';
import {FakeDatapath} from '../../../src/native/fake.ts';
import {datapathContract} from '../../contract/datapath.ts';

datapathContract(test, 'fake', () => {
  let now = 1000;
  const path = new FakeDatapath({nowMs: () => now});
  return {
    path,
    events: () => path.drain(),
    async until(condition) {
      for (let step = 0; step < 100; step++) {
        if (condition()) return true;
        now += 100;
        path.handleTimeout();
      }
      return condition();
    },
  };
});
