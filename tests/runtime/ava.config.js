// SPDX-License-Identifier: MIT
// The bundle on stock txiki.js (`npm test -- runtime`).
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/runtime/**/*.test.ts'],
  timeout: '3m',
  concurrency: 1,
  serial: true,
  workerThreads: false,
};
