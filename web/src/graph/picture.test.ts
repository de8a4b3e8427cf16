import { expect, it } from 'vitest';

import { edge, node } from '../lib/fixtures';
import { escaped, svg } from './picture';

const colours = { page: '#fff', card: '#fff', line: '#ccc', text: '#000', faint: '#666', accent: '#066', fine: '#0a0', degraded: '#a60', failing: '#c00', denied: '#a06' };
const box = (x: number) => ({ x, y: 40, width: 120, height: 52 });

it('a picture has every node, call and label in it', () => {
  const [web, api] = [node('web'), node('<api>')];
  const calls = [edge(web, api), edge(web, api, { verdict: 'denied', denials: [{ policy: 'closed', namespace: 'shop', rule: 0, reason: 'denied', count: 2 }] })];
  const places = {
    nodes: new Map([[web.id, box(0)], [api.id, box(500)]]),
    namespaces: new Map([['shop', { x: -20, y: 0, width: 700, height: 200 }]]),
    labels: new Map(calls.map(({ id }, index) => [id, { x: 300, y: 60 + index * 50 }])),
  };
  const graph = { atMs: 0, rangeMs: 1, sinceMs: 1, lost: 0, nodes: [web, api], edges: calls };
  const picture = svg(graph, places, ['rate', 'errors', 'p95'], colours);
  for (const part of ['&lt;api&gt; v1', 'shop', '1/s · 8 ms', 'closed.shop rule 0', 'stroke-dasharray="7 5"', 'viewBox="-44 -24 748 248"']) expect(picture).toContain(part);
  expect(picture).not.toContain('<api>');
});

it('text is text', () => {
  expect(escaped('a<b>&"c"')).toBe('a&lt;b&gt;&amp;&quot;c&quot;');
});
