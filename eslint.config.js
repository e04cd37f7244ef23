// SPDX-License-Identifier: MIT
// Lint of the TypeScript half. Its main purpose: cores stay pure and do not know each other.

import tseslint from 'typescript-eslint';

/** Decide, and touch nothing: time, randomness and I/O are handed in. */
const CORES = ['base', 'l2switch', 'tincan', 'controller', 'uci', 'status'];
/** Meet only in the composition (daemon.ts, network.ts), through their effects. */
const STRANGERS = ['l2switch', 'tincan', 'xmpp', 'controller'];

const folder = (name) => [`**/${name}/**`];
const OUTSIDE = [
  {
    group: ['**/runtime/**', '**/native/native.ts'],
    message: 'A core is handed what it needs of the runtime and of native.',
  },
  {group: ['node:*', 'tjs:*'], message: 'The bundle imports nothing of any runtime.'},
];
const XMPP_PACKAGES = {group: ['@xmpp/*'], message: 'Only src/xmpp knows XMPP (and tincan/jingle.ts its elements).'};
const XMPP_BUT_XML = {...XMPP_PACKAGES, group: ['@xmpp/*', '!@xmpp/xml']};

function imports(name, xmpp) {
  const strangers = STRANGERS.includes(name) ? STRANGERS.filter((other) => other !== name) : [];
  const cross = strangers.map((other) => ({
    group: folder(other),
    message: `${name} and ${other} meet in network.ts only.`,
  }));
  const xmppCode = {group: folder('xmpp'), message: 'A core does not know the session.'};
  const pure = CORES.includes(name) ? [...OUTSIDE, xmppCode, xmpp] : [OUTSIDE[1]];
  return [
    'error',
    {patterns: [...pure, ...cross.filter(({group}) => !pure.some((other) => `${other.group}` === `${group}`))]},
  ];
}

const LACKING = ['Buffer', 'process', 'TextEncoder', 'TextDecoder', 'URL', 'crypto', 'structuredClone', 'Intl'];
const IMPURE = [
  'Date',
  'setTimeout',
  'setInterval',
  'clearTimeout',
  'clearInterval',
  'performance',
  'console',
  'globalThis',
];
const globals = (names, message) => names.map((name) => ({name, message}));
const lacking = globals(LACKING, 'quickjs-ng has none; see src/base/bytes.ts.');
const impure = globals(IMPURE, 'A core is handed the time, and what it should do outside.');

export default tseslint.config(
  {ignores: ['node_modules', 'dist', 'build', 'native', 'artifacts', 'coverage']},
  {
    files: ['**/*.{ts,js,mjs}'],
    extends: [tseslint.configs.recommended],
    linterOptions: {reportUnusedDisableDirectives: 'error'},
    rules: {
      eqeqeq: 'error',
      'max-lines': ['error', 500],
      'max-lines-per-function': ['error', {max: 60, skipBlankLines: true, skipComments: true}],
      'max-params': ['error', 5],
      'no-var': 'error',
      'prefer-const': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        {fixStyle: 'inline-type-imports', disallowTypeAnnotations: false},
      ],
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_'}],
    },
  },
  {
    files: ['src/**/*.ts'],
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: import.meta.dirname}},
    rules: {
      'no-restricted-globals': ['error', ...lacking],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', {considerDefaultExhaustiveForUnions: true}],
    },
  },
  {
    files: CORES.map((name) => `src/${name}/**/*.ts`),
    rules: {
      'no-restricted-globals': ['error', ...lacking, ...impure],
      'no-restricted-properties': [
        'error',
        {object: 'Math', property: 'random', message: 'A core is handed randomness.'},
      ],
    },
  },
  ...[...CORES, 'xmpp'].map((name) => ({
    files: [`src/${name}/**/*.ts`],
    rules: {'no-restricted-imports': imports(name, XMPP_PACKAGES)},
  })),
  {files: ['src/tincan/jingle.ts'], rules: {'no-restricted-imports': imports('tincan', XMPP_BUT_XML)}},
  // A test tells one story from top to bottom.
  {
    files: ['tests/**/*.ts'],
    rules: {'max-lines-per-function': 'off', '@typescript-eslint/no-non-null-assertion': 'off'},
  },
);
