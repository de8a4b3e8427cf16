// How the graph does with 300 workloads and 2,000 edges: first paint, layout, what is loaded and drawn, and frames
// while it is panned. The pages of web/dist are served with a made-up mesh, under the console's own content security
// policy. With `--strict` times are held to the limits of docs/console.md, for which the machine must be idle;
// without it they are wide, so that a busy machine fails nothing that is not broken.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { extname } from 'node:path';

import { expect, open } from './browser.mjs';

const [WORKLOADS, EDGES] = [300, 2000];
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const dist = new URL('../dist/', import.meta.url);
const LIMITS = process.argv.includes('--strict') ? { paint: 1000, layout: 2000, frames: 30 } : { paint: 20_000, layout: 20_000, frames: 3 };
/// Bytes (gzip) that such a graph loads in all, and elements of the page that it may take.
const [LOADED, ELEMENTS] = [200_000, 8000];

/// What the console lets its pages load, of which workers are a part.
function contentSecurityPolicy() {
  const guard = readFileSync(new URL('../../crates/console/src/guard.rs', import.meta.url), 'utf8');
  const [, text] = /"(default-src [^"]*)"/.exec(guard) ?? [];
  if (!text) throw new Error('crates/console/src/guard.rs names no content security policy');
  return text.replace(/\\\s+/g, '');
}

/// The same numbers each time (Park and Miller's generator).
function random(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

function graph() {
  const next = random(7);
  const nodes = Array.from({ length: WORKLOADS }, (_, index) => {
    const [namespace, name] = [`team-${index % 12}`, `workload-${index}`];
    return { id: `workload:${namespace}/${name}/v1`, kind: 'workload', namespace, name, version: 'v1', workload: name };
  });
  const edges = new Map();
  while (edges.size < EDGES) {
    // Mostly to what lies behind, as front ends call back ends; some anywhere.
    const from = Math.floor(next() * WORKLOADS);
    const behind = (Math.floor(from / 50) + 1) * 50 + Math.floor(next() * 50);
    const to = next() < 0.95 ? Math.min(WORKLOADS - 1, behind) : Math.floor(next() * WORKLOADS);
    if (from === to) continue;
    const verdict = next() < 0.05 ? 'denied' : 'allowed';
    const [source, target] = [nodes[from].id, nodes[to].id];
    const id = `${source} ${verdict} ${target}`;
    const traffic = { count: 60, rate: 1 + from / 10, codes: { 200: 60 }, errors: 0, errorPercent: 0, p50Ms: 2, p95Ms: 8, p99Ms: 9, bytesPerSecond: 400, tcpOpened: 0 };
    const denials = verdict === 'denied' ? [{ policy: 'closed', namespace: nodes[to].namespace, rule: null, reason: 'denied', count: 60 }] : [];
    edges.set(id, { id, source, target, verdict, services: [], protocols: ['http'], traffic, lock: { state: 'mtls', percent: 100 }, sourcePrincipals: [], destinationPrincipals: [], denials, dryRun: [], lastDenied: [] });
  }
  return { atMs: Date.now(), rangeMs: 300_000, sinceMs: Date.now() - 600_000, lost: 0, nodes, edges: [...edges.values()] };
}

function serve(loaded) {
  const whole = graph();
  const policy = contentSecurityPolicy();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/api/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const send = (change) => response.write(`event: graph\ndata: ${JSON.stringify(change)}\n\n`);
      send({ ...whole, whole: true, gone: [] });
      // Every second a tenth of the edges has new numbers.
      const timer = setInterval(() => {
        const edges = whole.edges.filter(() => Math.random() < 0.1).map((edge) => ({ ...edge, traffic: { ...edge.traffic, count: edge.traffic.count + 1 } }));
        send({ atMs: Date.now(), rangeMs: 300_000, sinceMs: whole.sinceMs, lost: 0, nodes: [], edges, whole: false, gone: [] });
      }, 1000);
      request.on('close', () => clearInterval(timer));
    } else if (pathname.startsWith('/api/')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ nowMs: Date.now(), trustDomain: 'cluster.local', workloads: [], services: [], namespaces: [], sidecars: [] }));
    } else {
      const file = pathname.includes('.') ? pathname.slice(1) : 'index.html';
      const type = TYPES[extname(file)] ?? 'application/octet-stream';
      const bytes = gzipSync(readFileSync(new URL(file, dist)));
      loaded.set(file, bytes.length);
      response.writeHead(200, { 'content-type': type, 'content-encoding': 'gzip', 'content-security-policy': policy });
      response.end(bytes);
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const loaded = new Map();
const server = await serve(loaded);
const session = await open(`http://127.0.0.1:${server.address().port}/graph`, process.env.OUT ?? '/tmp/palisade-scale');
const { browser, page, problems, folder } = session;
const check = (what, holds) => expect(problems, what, holds);
try {
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0, null, { timeout: 30_000 });
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  check(`first paint after ${Math.round(paint)} ms (limit ${LIMITS.paint})`, paint < LIMITS.paint);
  await page.waitForFunction(() => performance.getEntriesByName('layout').length > 0, null, { timeout: 60_000 });
  const layout = await page.evaluate(() => performance.getEntriesByName('layout')[0].duration);
  check(`layout of ${WORKLOADS} workloads and ${EDGES} edges in ${Math.round(layout)} ms (limit ${LIMITS.layout})`, layout <= LIMITS.layout);
  await page.locator('.node').first().waitFor({ timeout: 30_000 });
  const files = [...loaded.keys()];
  check('it is laid out in a worker, without ELK', files.some((file) => /tiers\.worker/.test(file)) && !files.some((file) => /elk/.test(file)));
  const bytes = [...loaded.values()].reduce((sum, size) => sum + size, 0);
  check(`${bytes} bytes loaded (limit ${LOADED})`, bytes <= LOADED);
  const drawn = await page.evaluate(() => ({
    nodes: document.querySelectorAll('.node').length,
    paths: document.querySelectorAll('.react-flow__edge').length,
    canvases: document.querySelectorAll('canvas.many-edges').length,
    elements: document.querySelectorAll('*').length,
  }));
  check(`all ${WORKLOADS} workloads are drawn, and their calls on one canvas`, drawn.nodes === WORKLOADS && drawn.paths === 0 && drawn.canvases === 1);
  check(`${drawn.elements} elements on the page (limit ${ELEMENTS})`, drawn.elements <= ELEMENTS);
  await page.screenshot({ path: `${folder}/scale.png` });
  const box = await page.locator('.canvas').boundingBox();
  for (const [name, clicks] of [['all in view', 0], ['zoomed in', 4]]) {
    for (let click = 0; click < clicks; click += 1) await page.getByRole('button', { name: /zoom in/i }).click();
    await page.evaluate(rest);
    const fps = await pan(box);
    check(`panned at ${fps.toFixed(0)} frames a second, ${name} (limit ${LIMITS.frames})`, fps >= LIMITS.frames);
    await page.screenshot({ path: `${folder}/scale-${clicks}.png` });
  }
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
for (const problem of problems) console.error(`FAIL ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);

/// Ends when the view has stood still for some frames.
async function rest() {
  const view = document.querySelector('.react-flow__viewport');
  for (let [still, last] = [0, '']; still < 10; still += 1) {
    await new Promise(requestAnimationFrame);
    if (view.style.transform !== last) [still, last] = [0, view.style.transform];
  }
}

/// Frames a second while the graph is dragged to and fro for two seconds.
async function pan({ x, y, width, height }) {
  const [left, middle] = [x + width * 0.3, y + height * 0.2];
  await page.mouse.move(left, middle);
  await page.mouse.down();
  await page.evaluate(() => {
    globalThis.frames = 0;
    globalThis.begin = performance.now();
    const count = () => {
      globalThis.frames += 1;
      globalThis.counting = requestAnimationFrame(count);
    };
    count();
  });
  const until = Date.now() + 2000;
  for (let step = 0; Date.now() < until; step += 1) await page.mouse.move(left + (step % 40) * 8, middle + (step % 25) * 6);
  const fps = await page.evaluate(() => {
    cancelAnimationFrame(globalThis.counting);
    return (globalThis.frames * 1000) / (performance.now() - globalThis.begin);
  });
  await page.mouse.up();
  return fps;
}
