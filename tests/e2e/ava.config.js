// SPDX-License-Identifier: MIT
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/e2e/**/*.test.ts'],
  timeout: '3m',
  concurrency: 2,
  workerThreads: false,
};
