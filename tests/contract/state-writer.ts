// SPDX-License-Identifier: MIT
// One start of a node, as far as it writes: the program that the power-cut test watches.
//
//   state-writer.ts STATE_FOLDER MARK_FOLDER
// Makes a file in MARK_FOLDER when a call has returned: from then on, what it wrote must be there after any power cut.

import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {takeBoot} from '../../src/controller/boot.ts';
import {Native} from '../../src/native/native.ts';
import {koffiHost} from './host-koffi.ts';

const [state = '', marks = ''] = process.argv.slice(2);
const host = koffiHost();
const native = new Native(host.native);
const mark = (name: string): void => mkdirSync(join(marks, name));

native.openIdentity(join(state, 'identity.key'));
mark('identity');
// A router's clock at boot.
const {boot, problem} = takeBoot(native, join(state, 'boot'), 0);
if (problem !== undefined) throw new Error(problem);
mark(`boot-${boot}`);
host.close();
