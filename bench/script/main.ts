// SPDX-License-Identifier: MIT
// Measures the stages of the TypeScript half: a module without imports for Node (node.ts) and for ipopd's engine (native/bench/src/script.rs).

import {measure, type Bench, type Stage} from './measure.ts';
import {signalStages} from './signal-stages.ts';
import {switchStages} from './switch-stages.ts';

declare global {
  var bench: Bench;
}

const {args, nowNs, out} = globalThis.bench;
const [seconds, ...names] = args;
const all: readonly Stage[] = [...switchStages(), ...signalStages()];
const unknown = names.find((name) => !all.some((stage) => stage.name === name));
if (unknown !== undefined) throw new Error(`there is no stage '${unknown}'`);
const stages = all.filter(({name}) => names.length === 0 || names.includes(name));
for (const {stage, bestNs, referenceNs} of measure(stages, Number(seconds), nowNs)) {
  const {name, count, bytes} = stage;
  out([name, bestNs.toFixed(1), count, bytes, (bestNs / referenceNs).toFixed(5)].join('\t'));
}
