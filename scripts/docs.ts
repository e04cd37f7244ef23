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

## Changing it

\`ipop reload\` (or SIGHUP to \`ipopd\`) reads the file anew and applies the difference: it prints what changed, a line each, or every problem, with exit code 78. A wrong file changes nothing, and \`ipop status\` shows \`config-wrong\` until a reload was good.

| changed | what happens |
| --- | --- |
| nothing of a network | its tap, links and session are left alone |
| \`stun\`, \`turn\` | the next link tries use them |
| \`member\` (owner) | new ones become members of the room at once; those no longer listed stay members on the server until somebody removes them there |
| \`bridge\`, \`tap\`, \`mtu\` | the tap is made anew; links stay |
| \`jid\`, \`password\`, \`server\`, \`ca_file\`, \`owner\` | logs in anew; links stay |
| \`room\` | the links of the old room are closed, the new one is entered |
| a network added, removed, enabled or disabled, or its section renamed | begins, or says goodbye and ends (2 s at most) |
| \`log_level\`, \`name\` | at once; peers learn the name with the next link |
| \`enabled '0'\` of the node | \`ipopd\` ends, exit code 0 |
| \`state_dir\`, \`control\` | said, but only a restart applies them |

## Several networks

Each \`config network\` is an Ethernet of its own, with its own \`tap\`, \`jid\`, \`room\` and usually \`bridge\`; no two may share a tap, an account or a room.

## How it is read

As libuci reads it in strict mode, which a test compares (\`tests/integration/uci\`), its oddities included: \`#\` ends a word anywhere outside quotes; an option with an empty value counts as left out; \`;\` after a plain word drops the rest of the line, and after a quoted word or a blank begins another statement; a section begun a third time takes no options.
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
