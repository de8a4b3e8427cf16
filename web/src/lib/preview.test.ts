import { expect, it } from 'vitest';

import { edge, node } from './fixtures';
import { previewGraph } from './preview';
import type { Flip } from './types';

const party = (workload: string) => ({ namespace: 'shop', workload, app: workload, version: 'v1' });
const flip = (more: Partial<Flip>): Flip => ({
  source: party('web'),
  principal: 'spiffe://cluster.local/ns/shop/sa/web',
  address: '10.0.0.1',
  target: party('api'),
  port: 8080,
  method: 'GET',
  host: 'api.shop',
  path: '/',
  seen: 3,
  before: 'allow',
  after: 'deny',
  sentence: '',
  ...more,
});
const [web, api] = [node('web', { id: 'workload:shop/web/v1' }), node('api', { id: 'workload:shop/api/v1' })];
const now = { atMs: 1, rangeMs: 1, sinceMs: 1, lost: 0, nodes: [web, api], edges: [edge(web, api)] };

it('what would change is an edge beside those of today', () => {
  const { graph, changed } = previewGraph(now, [flip({}), flip({ path: '/b', seen: 2 })]);
  expect(graph.nodes).toHaveLength(2);
  expect([...changed]).toEqual(['draft workload:shop/web/v1 denied workload:shop/api/v1']);
  const added = graph.edges.find(({ id }) => changed.has(id));
  expect([added?.traffic.count, added?.draft]).toEqual([5, 'would be denied']);
});

it('who is on no graph yet is added', () => {
  const { graph } = previewGraph(now, [flip({ source: null, principal: null, after: 'allow' })]);
  expect(graph.nodes.map(({ id }) => id)).toContain('address:/10.0.0.1');
});
