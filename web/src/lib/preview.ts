// What a draft would change, as a graph: the edges of today, and those that would be other ones.

import type { Flip, Graph, GraphEdge, GraphNode, Party } from './types';

function nodeOf(party: Party | null, address: string): GraphNode {
  if (!party) return { id: `address:/${address}`, kind: 'address', namespace: '', name: address, version: '', workload: '' };
  const { namespace, workload, version } = party;
  return { id: `workload:${namespace}/${workload}${version ? `/${version}` : ''}`, kind: 'workload', namespace, name: workload, version, workload };
}

/// The graph of workloads after a draft. What would be another answer is an edge of its own, in the style of the
/// answer that it would get.
export function previewGraph(now: Graph, flips: Flip[]): { graph: Graph; changed: Set<string> } {
  const nodes = new Map(now.nodes.map((node) => [node.id, node]));
  const changed = new Map<string, GraphEdge>();
  for (const flip of flips) {
    const [source, target] = [nodeOf(flip.source, flip.address), nodeOf(flip.target, '')];
    for (const node of [source, target]) if (!nodes.has(node.id)) nodes.set(node.id, node);
    const verdict = flip.after === 'allow' ? 'allowed' : 'denied';
    const id = `draft ${source.id} ${verdict} ${target.id}`;
    const known = changed.get(id);
    const count = (known?.traffic.count ?? 0) + flip.seen;
    changed.set(id, {
      id,
      source: source.id,
      target: target.id,
      verdict,
      services: [],
      protocols: ['http'],
      traffic: { count, rate: 0, codes: {}, errors: 0, errorPercent: 0, p50Ms: null, p95Ms: null, p99Ms: null, bytesPerSecond: 0, tcpOpened: 0 },
      lock: { state: flip.principal ? 'mtls' : 'plaintext', percent: flip.principal ? 100 : 0 },
      sourcePrincipals: flip.principal ? [flip.principal] : [],
      destinationPrincipals: [],
      denials: [],
      dryRun: [],
      lastDenied: [],
      draft: `would be ${verdict}`,
    });
  }
  return {
    graph: { ...now, nodes: [...nodes.values()], edges: [...now.edges, ...changed.values()] },
    changed: new Set(changed.keys()),
  };
}
