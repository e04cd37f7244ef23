// SPDX-License-Identifier: MIT
// Writes docs/CONFIG.md from the table of options. `npm run docs -- --check` fails when the page is not what the table gives.

import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {format, resolveConfig} from 'prettier';
import {SECTIONS, type OptionSpec, type SectionSpec} from '../src/uci/schema.ts';

const root = join(import.meta.dirname, '..');
const PAGE = join(root, 'docs', 'CONFIG.md');
const SAMPLE = join(root, 'openwrt', 'files', 'etc', 'config', 'ipop');

const INTRO = `# Configuration

<!-- Made by \`npm run docs\` from src/uci/schema.ts: change it there. -->

\`/etc/config/ipop\`, in UCI's format. \`ipopd --check\` tells every problem in it, with line and option. An option left out has its default. Options of a name that is not here are errors.

Keep the file at mode 0600: it holds passwords.
`;

function sectionText({type, name, help, options}: SectionSpec): string {
  const rows = Object.entries(options).map(
    ([option, spec]) => `| ${[`\`${option}\``, kindOf(spec), defaultOf(spec), spec.help].map(cell).join(' | ')} |`,
  );
  return `## \`config ${type} '${name ?? '<name>'}'\`

${help}

| option | value | default | meaning |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function kindOf({value, isList, maxItems}: OptionSpec<unknown>): string {
  return isList ? `list of at most ${maxItems}: ${value.allowed}` : value.allowed;
}

function defaultOf({required, fallback, isList}: OptionSpec<unknown>): string {
  if (required) return '**required**';
  if (fallback !== undefined) return `\`${fallback}\``;
  return isList ? 'empty' : '-';
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

const sample = `## Example

\`\`\`
${readFileSync(SAMPLE, 'utf8').trimEnd()}
\`\`\`
`;
const raw = [INTRO, ...SECTIONS.map(sectionText), sample].join('\n');
const page = await format(raw, {...(await resolveConfig(PAGE)), parser: 'markdown'});

if (process.argv.includes('--check')) {
  if (!existsSync(PAGE) || readFileSync(PAGE, 'utf8') !== page) {
    console.error('docs/CONFIG.md is stale: run npm run docs');
    process.exit(1);
  }
} else {
  writeFileSync(PAGE, page);
}
