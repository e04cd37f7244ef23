// SPDX-License-Identifier: MIT
// The contract suite on the real native library (`npm test -- contract`); the fake runs it among the unit tests.
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/contract/*.test.ts'],
  workerThreads: false,
  timeout: '60s',
};
