// How much a browser loads: what it needs before it can paint, and the rest, compressed as servers do it.

import { readFileSync, readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const FIRST = 200_000;
const LATER = 500_000;

const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'));
const first = new Set(['index.html']);
const visit = (key) => {
  const chunk = manifest[key];
  if (first.has(chunk.file)) return;
  for (const file of [chunk.file, ...(chunk.css ?? [])]) first.add(file);
  (chunk.imports ?? []).forEach(visit);
};
visit('index.html');
const size = (file) => gzipSync(readFileSync(new URL(file, dist))).length;
const all = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.parentPath.includes('.vite'))
  .map((entry) => `${entry.parentPath}/${entry.name}`.slice(dist.pathname.length).replace(/^\//, ''))
  // Passed on with the pages, and loaded by none.
  .filter((file) => file !== 'licenses.txt');
const sum = (files) => files.reduce((total, file) => total + size(file), 0);
const before = sum([...first]);
const later = sum(all.filter((file) => !first.has(file)));
console.log(`before first paint ${before} bytes (limit ${FIRST}), later ${later} bytes (limit ${LATER}), gzip`);
if (before > FIRST || later > LATER) {
  console.error('the pages have grown beyond their limit: load what is not needed at once with import()');
  process.exit(1);
}
