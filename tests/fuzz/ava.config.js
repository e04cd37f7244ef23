// SPDX-License-Identifier: MIT
// Replays the corpora of the TypeScript targets (`npm test -- fuzz`).
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/fuzz/*.test.ts'],
  workerThreads: false,
  timeout: '120s',
};
