// A picture of the graph of a running mesh: picture.mjs LINK FILE. scripts/picture makes the mesh and its traffic.

import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';

import { open } from '../e2e/browser.mjs';

const [link, file] = process.argv.slice(2);
if (!link || !file) throw new Error('name a login link and a file');
const MOST = 150_000;

const { browser, page, problems, origin } = await open(link, tmpdir());
await page.setViewportSize({ width: 1240, height: 900 });
await page.goto(`${origin}/graph?type=workload&range=60`);
await page.locator('.tag.allowed').first().waitFor({ timeout: 30_000 });
await page.locator('.tag.refused').first().waitFor({ timeout: 30_000 });
await page.locator('.tag.denied').nth(1).waitFor({ timeout: 30_000 });
const box = async (selector) => page.locator(selector).first().boundingBox();
const [stage, legend] = [await box('.stage'), await box('.legend')];
const clip = { x: stage.x - 8, y: stage.y - 8, width: stage.width + 16, height: legend.y + legend.height - stage.y + 12 };
const picture = await page.screenshot({ clip });
await browser.close();
if (problems.length > 0 || picture.length > MOST) throw new Error(`${picture.length} bytes (limit ${MOST}) ${problems.join('; ')}`);
writeFileSync(file, picture);
console.log(`${file}: ${picture.length} bytes`);
