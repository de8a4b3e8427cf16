import { expect, it } from 'vitest';

import { applied } from './api';
import { edge, node } from './fixtures';
import type { GraphChange } from './types';

const web = node('web');
const api = node('api');
const calls = edge(web, api);
const numbers = { atMs: 2, rangeMs: 60_000, sinceMs: 1, lost: 0 };
const change = (more: Partial<GraphChange>): GraphChange => ({ ...numbers, nodes: [], edges: [], gone: [], whole: false, ...more });

it('a change keeps what it does not name', () => {
  const first = applied(null, change({ whole: true, nodes: [web, api], edges: [calls] }));
  const tick = applied(first, change({ atMs: 3 }));
  expect(tick.nodes).toBe(first.nodes);
  expect(tick.atMs).toBe(3);
  const busier = { ...calls, traffic: { ...calls.traffic, count: 61 } };
  expect(applied(first, change({ edges: [busier] })).edges).toEqual([busier]);
  const alone = applied(first, change({ gone: [calls.id, web.id] }));
  expect([alone.nodes, alone.edges]).toEqual([[api], []]);
});

it('a whole graph replaces all', () => {
  const first = applied(null, change({ whole: true, nodes: [web, api], edges: [calls] }));
  expect(applied(first, change({ whole: true, nodes: [web] })).edges).toEqual([]);
});
