import { expect, it, vi } from 'vitest';

vi.mock('elkjs/lib/elk-api.js', () => ({ default: vi.fn() }));
vi.mock('elkjs/lib/elk-worker.min.js?url', () => ({ default: '' }));

import { edge, node } from '../lib/fixtures';
import { shape } from './layout';
import { route } from './route';

const web = node('web');
const api = node('api');
const left = { x: 0, y: 0, width: 100, height: 50 };
const right = { x: 400, y: 0, width: 100, height: 50 };

it('an edge leaves on the side of its target, and what is blocked ends before it', () => {
  const via = { x: 250, y: 25 };
  expect(route(left, via, right, false)).toMatchObject({ end: { x: 396, y: 25 } });
  expect(route(left, via, right, true)).toMatchObject({ end: { x: 384, y: 25 } });
  expect(route(right, via, left, true)).toMatchObject({ end: { x: 116, y: 25 } });
  expect(route(left, via, right, false).path).toMatch(/^M 100 25 C .* 250 25 C .* 396 25$/);
});

it('numbers do not move nodes, new edges do', () => {
  const calls = edge(web, api);
  const more = { ...calls, traffic: { ...calls.traffic, count: 99 } };
  expect(shape([web, api], [calls], [])).toBe(shape([api, web], [more], []));
  expect(shape([web, api], [calls], [])).not.toBe(shape([web, api], [calls, edge(web, api, { verdict: 'denied' })], []));
});
