// SPDX-License-Identifier: MIT
import test from 'ava';
import {RecordReader} from '../../src/native/codec.ts';
import type {NativeEvent} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {datapathContract} from './datapath.ts';
import {koffiHost, nativeMissing} from './host-koffi.ts';

const missing = nativeMissing();

if (missing) {
  test.skip(`real library: not tested, for ${missing}`, (t) => t.fail());
} else {
  const host = koffiHost();
  const native = new Native(host.native);
  const reader = new RecordReader();
  const waiting: NativeEvent[] = [];

  test.before(() => {
    native.start();
    host.onRecord((record) => void waiting.push(...reader.read(record)));
  });

  test.after.always((t) => {
    native.stop();
    host.close();
    t.is(reader.ignored + reader.malformed, 0, 'every record was understood');
  });

  datapathContract(test, 'real', () => ({
    path: native,
    events() {
      host.pump();
      return waiting.splice(0);
    },
    async until(condition) {
      const end = performance.now() + 10_000;
      while (performance.now() < end) {
        if (condition()) return true;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return condition();
    },
  }));
}
