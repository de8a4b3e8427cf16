// How a workload is, by the calls that reached it. What a policy refused says nothing about its health.

import type { Graph, GraphEdge, Workload } from './types';

export type State = 'good' | 'warning' | 'bad' | 'idle';

export interface Health {
  state: State;
  word: string;
  /// The rule and the numbers that it was applied to.
  why: string;
  requests: number;
  rate: number;
  errorPercent: number;
  /// Calls that were denied or refused.
  blocked: number;
}

/// All pods of one workload.
export interface WorkloadGroup {
  key: string;
  namespace: string;
  name: string;
  pods: Workload[];
}

export function groups(pods: Workload[]): WorkloadGroup[] {
  const all = new Map<string, WorkloadGroup>();
  for (const pod of pods) {
    const key = `${pod.namespace}/${pod.workload}`;
    const group = all.get(key) ?? { key, namespace: pod.namespace, name: pod.workload, pods: [] };
    group.pods.push(pod);
    all.set(key, group);
  }
  return [...all.values()].sort((one, other) => one.key.localeCompare(other.key));
}

/// Edges to each workload of a graph of workloads.
export function inbound(graph: Graph | null): Map<string, GraphEdge[]> {
  const edges = new Map<string, GraphEdge[]>();
  const nodes = new Map((graph?.nodes ?? []).map((node) => [node.id, `${node.namespace}/${node.workload || node.name}`]));
  for (const edge of graph?.edges ?? []) {
    const key = nodes.get(edge.target) ?? '';
    edges.set(key, [...(edges.get(key) ?? []), edge]);
  }
  return edges;
}

/// Errors from which on a workload is failing, in percent.
export const FAILING = 10;

export function health(group: WorkloadGroup, edges: GraphEdge[]): Health {
  const allowed = edges.filter((edge) => edge.verdict === 'allowed');
  const sum = (of: GraphEdge[], value: (edge: GraphEdge) => number) => of.reduce((total, edge) => total + value(edge), 0);
  const requests = sum(allowed, (edge) => edge.traffic.count);
  const errors = sum(allowed, (edge) => edge.traffic.errors);
  const errorPercent = requests > 0 ? (errors * 100) / requests : 0;
  const numbers = {
    requests,
    rate: sum(allowed, (edge) => edge.traffic.rate),
    errorPercent,
    blocked: sum(
      edges.filter((edge) => edge.verdict !== 'allowed'),
      (edge) => edge.traffic.count,
    ),
  };
  const down = group.pods.filter((pod) => pod.phase !== 'Running' && pod.phase !== 'Succeeded').length;
  const told = `${errors} of ${requests} requests failed (degraded above 0 %, failing from ${FAILING} %); denied ones do not count`;
  if (down > 0) return { ...numbers, state: 'bad', word: 'not running', why: `${down} of ${group.pods.length} pods do not run` };
  if (requests === 0) return { ...numbers, state: 'idle', word: 'no traffic', why: 'nothing reached it in the time range' };
  if (errorPercent >= FAILING) return { ...numbers, state: 'bad', word: 'failing', why: told };
  if (errors > 0) return { ...numbers, state: 'warning', word: 'degraded', why: told };
  return { ...numbers, state: 'good', word: 'healthy', why: told };
}
