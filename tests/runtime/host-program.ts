// SPDX-License-Identifier: MIT
// Runs on txiki.js in place of the bundle: asks the host for what interface Host promises, and prints what it saw as JSON.

import {utf8} from '../../src/base/bytes.ts';
import {RecordReader} from '../../src/native/codec.ts';
import {NativeError} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {runOnHost} from '../../src/runtime/current.ts';
import type {Host} from '../../src/runtime/host.ts';

const EAGAIN = 11;
const JOBS = 20;

const scenes: Record<string, (host: Host) => void> = {records, timers, resets, faults, signals};

runOnHost((host) => scenes[host.args[1] ?? '']?.(host));

/** Keeps the loop from running until native has queued so many records, then sees them come. */
function records(host: Host): void {
  const wanted = Number(host.args[2]);
  const native = new Native(host.native);
  native.start();
  const reader = new RecordReader();
  const seen = {records: 0, gaps: 0, disorder: 0, mixed: 0, timers: 0, underWay: 0, last: 0};
  host.onRecord(async (record) => {
    if (seen.underWay++ > 0) seen.mixed++;
    for (const event of reader.read(record)) {
      if (event.type === 'gap') seen.gaps++;
      if (event.type !== 'pbkdf2') continue;
      if (event.request <= seen.last) seen.disorder++;
      seen.last = event.request;
      seen.records++;
    }
    for (let i = 0; i < JOBS; i++) await undefined;
    seen.underWay--;
    if (seen.records + seen.gaps === wanted) finish();
  });
  const tick = (): void => {
    if (seen.underWay > 0) seen.mixed++;
    seen.timers++;
    host.setTimer(1, tick);
  };
  host.setTimer(1, tick);
  for (let i = 0; i < wanted; i++) derive(native);
  const start = host.nowMs();
  const finish = (): void => {
    const {recordsDropped, threads} = native.processCounters();
    host.out(`${JSON.stringify({...seen, recordsDropped, threads, elapsedMs: host.nowMs() - start})}\n`);
    host.exit(0);
  };
}

/** One record more to come; waits in a busy loop, at most 1e6 tries, while native has no room for the request. */
function derive(native: Native): void {
  for (let tries = 0; tries < 1e6; tries++) {
    try {
      native.pbkdf2('sha256', utf8('password'), utf8('salt'), 1);
      return;
    } catch (error) {
      if (!(error instanceof NativeError && error.errno === EAGAIN)) throw error;
    }
  }
  throw new Error('native takes no request');
}

/** A timer set late in a long turn, one replaced, one cancelled. */
function timers(host: Host): void {
  const seen: Record<string, number> = {};
  let asked = host.nowMs();
  const took = (name: string): void => void (seen[name] = host.nowMs() - asked);
  busy(host, 60);
  asked = host.nowMs();
  host.setTimer(1, () => took('replaced'));
  host.setTimer(40, () => {
    took('late');
    host.setTimer(1, () => took('cancelled'));
    host.setTimer(undefined, () => {});
    busy(host, 60);
    asked = host.nowMs();
    host.setTimer(20, () => {
      took('inside');
      host.out(`${JSON.stringify(seen)}\n`);
      host.exit(0);
    });
  });
}

/** Promise jobs of records that set a timer anew just when it fires: each turn is longer than the timer. */
function resets(host: Host): void {
  const wanted = Number(host.args[2]);
  const native = new Native(host.native);
  native.start();
  let [records, fired] = [0, 0];
  host.onRecord(async () => {
    records++;
    busy(host, 2);
    for (let i = 0; i < 3; i++) {
      await undefined;
      host.setTimer(1, () => void fired++);
    }
    if (records < wanted) return;
    host.out(`${JSON.stringify({records, fired})}\n`);
    host.exit(0);
  });
  host.setTimer(1, () => void fired++);
  for (let i = 0; i < wanted; i++) derive(native);
}

function busy(host: Host, ms: number): void {
  for (const end = host.nowMs() + ms; host.nowMs() < end;);
}

/** What nobody catches is logged, and the program goes on. */
function faults(host: Host): void {
  // The throw at once is what is tried.
  const failing = async (text: string): Promise<void> => {
    throw new Error(text);
  };
  host.setTimer(1, () => {
    host.setTimer(1, async () => {
      try {
        await failing('caught');
      } catch {
        host.log('caught');
      }
      void failing('rejected');
      host.setTimer(1, () => {
        host.out('still here\n');
        host.exit(5);
      });
    });
    throw new Error('thrown');
  });
}

/** Says which signals come, until SIGTERM. */
function signals(host: Host): void {
  const stay = (): void => host.setTimer(10_000, stay);
  stay();
  host.onSignal((signal) => {
    host.out(`signal ${signal}\n`);
    if (signal === 15) host.exit(0);
  });
  host.out('ready\n');
}
