// SPDX-License-Identifier: MIT
// What takes longer than `npm test` may: `npm run test:full`.
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/full/**/*.test.ts'],
  timeout: '40m',
  concurrency: 1,
  workerThreads: false,
};
