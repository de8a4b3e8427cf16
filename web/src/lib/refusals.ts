// Requests to workloads that look at tokens which were answered 401 or 403, by reason.

import { policyName } from '../graph/text';
import type { Graph } from './types';

export interface Refusals {
  /// `NAME.NAMESPACE`.
  workload: string;
  code: 401 | 403;
  reason: string;
  count: number;
}

const BY_ITSELF = {
  401: 'token refused, or the application’s own answer',
  403: 'token for another audience, or the application’s own answer',
} as const;

/// Counted over the time range of a graph of workloads; the most frequent first.
export function refusals(graph: Graph, protectedBy: ReadonlySet<string>): Refusals[] {
  const names = new Map(graph.nodes.map((node) => [node.id, `${node.workload || node.name}.${node.namespace}`]));
  const all = new Map<string, Refusals>();
  const add = (workload: string, code: 401 | 403, reason: string, count: number) => {
    if (count <= 0) return;
    const key = [workload, code, reason].join(' ');
    all.set(key, { workload, code, reason, count: (all.get(key)?.count ?? 0) + count });
  };
  for (const edge of graph.edges) {
    const workload = names.get(edge.target) ?? '';
    if (!protectedBy.has(workload)) continue;
    if (edge.verdict === 'denied') for (const denial of edge.denials) add(workload, 403, policyName(denial), denial.count);
    if (edge.verdict === 'allowed') for (const code of [401, 403] as const) add(workload, code, BY_ITSELF[code], edge.traffic.codes[code] ?? 0);
  }
  return [...all.values()].sort((one, other) => other.count - one.count || (one.workload + one.reason < other.workload + other.reason ? -1 : 1));
}
