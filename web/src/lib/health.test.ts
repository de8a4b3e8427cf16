import { expect, it } from 'vitest';

import { edge, node } from './fixtures';
import { groups, health, inbound } from './health';
import type { Workload } from './types';

const pod = (name: string, more: Partial<Workload> = {}): Workload => ({
  namespace: 'shop',
  pod: `${name}-1`,
  workload: name,
  app: name,
  version: 'v1',
  identity: null,
  sidecar: true,
  phase: 'Running',
  containers: [name],
  address: null,
  ports: [],
  services: [],
  mtls: 'STRICT',
  portMtls: [],
  mtlsFrom: [],
  policies: [],
  ...more,
});
const group = (more: Partial<Workload> = {}) => groups([pod('api', more)])[0] ?? { key: '', namespace: '', name: '', pods: [] };
const [web, api] = [node('web'), node('api')];
const calls = edge(web, api);
const denied = edge(web, api, { verdict: 'denied', traffic: { ...calls.traffic, count: 500 } });
const failing = edge(web, api, { traffic: { ...calls.traffic, errors: 6 } });

it('denials do not make a workload look ill', () => {
  const { state, blocked, requests } = health(group(), [calls, denied]);
  expect([state, blocked, requests]).toEqual(['good', 500, 60]);
});

it('errors do, by a rule that is told', () => {
  expect(health(group(), [failing]).word).toBe('failing');
  expect(health(group(), [edge(web, api, { traffic: { ...calls.traffic, errors: 1 } })]).word).toBe('degraded');
  expect(health(group(), [failing]).why).toContain('6 of 60 requests failed');
  expect(health(group(), []).word).toBe('no traffic');
  expect(health(group({ phase: 'Pending' }), [calls]).word).toBe('not running');
});

it('calls are found by the workload that they reached', () => {
  const graph = { atMs: 1, rangeMs: 1, sinceMs: 1, lost: 0, nodes: [web, api], edges: [calls, denied] };
  expect(inbound(graph).get('shop/api')).toEqual([calls, denied]);
  expect(groups([pod('b'), pod('a'), pod('a', { pod: 'a-2' })]).map((it) => [it.key, it.pods.length])).toEqual([['shop/a', 2], ['shop/b', 1]]);
});
