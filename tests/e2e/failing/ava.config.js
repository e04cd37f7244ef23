// SPDX-License-Identifier: MIT
// Tests that fail on purpose: artefacts.test.ts runs them and looks at what is left. No other run does.
export default {
  extensions: {ts: 'module'},
  nodeArguments: ['--import=tsx'],
  files: ['tests/e2e/failing/*.failing.ts'],
  timeout: '1m',
  workerThreads: false,
};
