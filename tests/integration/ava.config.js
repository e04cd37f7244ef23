// SPDX-License-Identifier: MIT
// Parts of ipop against real servers on loopback.
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  workerThreads: false,
  files: ['tests/integration/**/*.test.ts'],
  timeout: '4m',
  serial: true,
};
