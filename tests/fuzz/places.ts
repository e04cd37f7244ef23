// SPDX-License-Identifier: MIT
// Where the files of a target are, and what a run of it comes to.

import {readdirSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

export const nativePrefix = 'native-';

export interface Outcome {
  inputs: number;
  seconds: number;
  /** Places in the code that were reached, */
  edges: number;
  /** of so many in what was loaded; 0: not known. */
  places: number;
  /** Places, each counted for every order of magnitude of its hits in one input. */
  features: number;
  /** New files of the corpus. */
  added: number;
  /** Files that hold inputs which break a promise, or a sentence each. */
  found: string[];
}

/** Path of something in the tree. */
export function tree(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** Inputs that are kept, and replayed by the tests. */
export function corpusOf(target: string): string {
  return tree(`tests/fuzz/corpus/${target}`);
}

/** Inputs of one run, crashes among them. */
export function workOf(target: string): string {
  return tree(`build/fuzz/${target}`);
}

/** Paths of the files in a folder, in order. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => `${folder}/${name}`);
}
