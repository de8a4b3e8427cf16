// Debian's Chromium, headless, and what every look at a page checks: no error, no request to anybody else, nothing
// that axe-core objects to, in both themes, and all of it within reach of a keyboard.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { chromium } from 'playwright-core';

const [WIDE, NARROW] = [{ width: 1440, height: 900 }, { width: 1024, height: 700 }];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function open(link, folder) {
  mkdirSync(folder, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu'],
  });
  const context = await browser.newContext({ viewport: WIDE, colorScheme: 'light' });
  const page = await context.newPage();
  const problems = [];
  const { origin } = new URL(link);
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) {
      problems.push(`external request: ${request.url()}`);
    }
  });
  await page.goto(link);
  return { browser, page, problems, origin, folder };
}

/// Everything that can be used is reached by the Tab key and shows that it has the focus. Of tabs and the like only
/// one is a stop; arrow keys go on from there.
async function walk({ page, problems }, name) {
  const place = await page.evaluateHandle(() => {
    const usable = 'a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex="0"]';
    const all = [...document.querySelectorAll(usable)].filter((it) => it.checkVisibility() && it.tabIndex >= 0);
    document.activeElement?.blur();
    return { all, met: new Set(), unmarked: [] };
  });
  const step = (place) => {
    const it = document.activeElement;
    if (it === document.body || place.met.has(it)) return place.all.some((other) => other.isConnected && !place.met.has(other));
    place.met.add(it);
    const { outlineStyle, boxShadow } = getComputedStyle(it);
    if (outlineStyle === 'none' && boxShadow === 'none') place.unmarked.push(it.outerHTML.slice(0, 140));
    return true;
  };
  for (let presses = 0; presses < 400; presses += 1) {
    await page.keyboard.press('Tab');
    if (!(await place.evaluate(step))) break;
  }
  const { stops, missed, unmarked } = await place.evaluate(({ all, met, unmarked }) => ({
    stops: met.size,
    missed: all.filter((it) => it.isConnected && it.checkVisibility() && !met.has(it)).map((it) => it.outerHTML.slice(0, 140)),
    unmarked,
  }));
  expect(problems, `${name}: ${stops} stops by keyboard`, stops > 8);
  for (const html of missed) problems.push(`${name}: not reached by the Tab key: ${html}`);
  for (const html of unmarked) problems.push(`${name}: does not show the focus: ${html}`);
}

/// Screenshots of a page in both themes and on a small screen, where nothing may stick out; axe-core looks at it in
/// both themes, and it is walked through by keyboard.
export async function look(session, name) {
  const { page, problems, folder } = session;
  for (const theme of ['light', 'dark']) {
    await page.evaluate((to) => {
      document.documentElement.dataset.theme = to;
    }, theme);
    await page.screenshot({ path: `${folder}/${name}-${theme}.png`, fullPage: true });
    await page.setViewportSize(NARROW);
    const out = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (out > 0) problems.push(`${name}: ${out} pixels stick out of a page that is ${NARROW.width} wide`);
    await page.screenshot({ path: `${folder}/${name}-${theme}-narrow.png`, fullPage: true });
    await page.setViewportSize(WIDE);
    // Evaluated by the debugger, which the page's content security policy does not bind.
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    for (const { id, help, nodes } of violations) {
      problems.push(`${name} ${theme}: ${id}: ${help}: ${nodes.map((it) => it.html.slice(0, 140)).join(' | ')}`);
    }
  }
  await page.evaluate(() => {
    document.documentElement.dataset.theme = 'light';
  });
  await walk(session, name);
}

export function expect(problems, what, holds) {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}`);
  if (!holds) problems.push(what);
}
