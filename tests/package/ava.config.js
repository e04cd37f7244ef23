// SPDX-License-Identifier: MIT
// The packages, and the scripts in them: each is run where it will run, as far as this machine has that.
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  workerThreads: false,
  files: ['tests/package/**/*.test.ts'],
  timeout: '2m',
  concurrency: 1,
};
