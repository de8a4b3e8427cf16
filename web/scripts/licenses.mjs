// Whether every npm package that ends up in the pages has a licence that the project may pass on; deny.toml
// does the same for Rust. Packages that only build or test are not passed on. With --write the licences' texts go
// into the built pages, as they ask for.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

const ALLOWED = new Map([
  ['MIT', ''],
  ['ISC', ''],
  ['BSD-3-Clause', ''],
  ['Apache-2.0', ''],
  // Weak copyleft: passed on unchanged, as a file of its own.
  ['EPL-2.0 OR GPL-3.0-or-later', 'elkjs'],
  ['EPL-2.0', 'elkjs'],
]);

const root = new URL('../', import.meta.url);
const lock = JSON.parse(readFileSync(new URL('package-lock.json', root), 'utf8'));
const wrong = [];
const texts = [];
let count = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '' || entry.dev || entry.devOptional) continue;
  count += 1;
  const name = path.split('node_modules/').at(-1);
  const folder = new URL(`${path}/`, root);
  const { license, version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'));
  const file = readdirSync(folder).find((it) => /^licen[cs]e/i.test(it));
  texts.push(`${name} ${version} (${license})\n\n${file ? readFileSync(new URL(file, folder), 'utf8') : ''}`);
  const only = ALLOWED.get(license);
  if (only === undefined || (only !== '' && only !== name)) wrong.push(`${name}: ${license ?? 'no licence'}`);
}
for (const line of wrong) console.error(line);
if (process.argv.includes('--write')) {
  writeFileSync(new URL('dist/licenses.txt', root), texts.join(`\n${'-'.repeat(80)}\n\n`));
}
console.log(`${count} packages in the pages, ${wrong.length} with a licence that is not allowed`);
process.exit(wrong.length > 0 ? 1 : 0);
