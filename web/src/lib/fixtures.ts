// A small graph for tests.

import type { GraphEdge, GraphNode } from './types';

export function node(name: string, more: Partial<GraphNode> = {}): GraphNode {
  const id = `app:shop/${name}/v1`;
  return { id, kind: 'app', namespace: 'shop', name, version: 'v1', workload: name, ...more };
}

export function edge(source: GraphNode, target: GraphNode, more: Partial<GraphEdge> = {}): GraphEdge {
  const verdict = more.verdict ?? 'allowed';
  return {
    id: `${source.id} ${verdict} ${target.id}`,
    source: source.id,
    target: target.id,
    verdict,
    services: [target.name],
    protocols: ['http'],
    traffic: {
      count: 60,
      rate: 1,
      codes: { 200: 60 },
      errors: 0,
      errorPercent: 0,
      p50Ms: 3,
      p95Ms: 8,
      p99Ms: 9,
      bytesPerSecond: 400,
      tcpOpened: 0,
    },
    lock: { state: 'mtls', percent: 100 },
    sourcePrincipals: [`spiffe://cluster.local/ns/shop/sa/${source.name}`],
    destinationPrincipals: [`spiffe://cluster.local/ns/shop/sa/${target.name}`],
    denials: [],
    dryRun: [],
    lastDenied: [],
    ...more,
  };
}
