// What is different between the graphs of two times.

import type { Graph, GraphEdge } from '../lib/types';
import { lockText, plural } from './text';

export type Kind = 'came' | 'went' | 'verdict' | 'mtls';

export interface Change {
  /// Of the edge that is drawn for it.
  id: string;
  kind: Kind;
  source: string;
  target: string;
  before: GraphEdge | null;
  after: GraphEdge | null;
}

export const KINDS: Record<Kind, string> = { came: 'came', went: 'went', verdict: 'other verdict', mtls: 'other mTLS' };

/// Edges that came, went, or got another verdict or protection, in this order and by their ends. A verdict that went and
/// one that came between the same two are one change. Numbers alone are no change.
export function changes(before: Graph, after: Graph): Change[] {
  const [old, fresh] = [byPair(before.edges), byPair(after.edges)];
  const all = [...new Set([...old.keys(), ...fresh.keys()])].flatMap((pair) => between(old.get(pair) ?? [], fresh.get(pair) ?? []));
  const order: Kind[] = ['came', 'went', 'verdict', 'mtls'];
  return all.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind) || (one.id < other.id ? -1 : 1));
}

/// The later graph with the edges that went, each change with its words; and which they are.
export function differenceGraph(before: Graph, after: Graph, changed: Change[]): { graph: Graph; changed: Set<string> } {
  const marked = new Map(changed.map((change) => [change.id, change]));
  const edges = after.edges.map((edge) => {
    const change = marked.get(edge.id);
    return change ? { ...edge, change: text(change) } : edge;
  });
  for (const change of changed) {
    if (change.kind === 'went' && change.before) edges.push({ ...change.before, change: text(change) });
  }
  const nodes = new Map([...before.nodes, ...after.nodes].map((node) => [node.id, node]));
  const used = new Set(edges.flatMap(({ source, target }) => [source, target]));
  return { graph: { ...after, edges, nodes: [...nodes.values()].filter(({ id }) => used.has(id)) }, changed: new Set(marked.keys()) };
}

/// A change as it stands on its edge.
export function text({ kind, before, after }: Change): string {
  const counts = `${before?.traffic.count ?? 0} → ${plural(after?.traffic.count ?? 0, 'call')}`;
  switch (kind) {
    case 'verdict':
      return `was ${before?.verdict ?? '?'} · ${counts}`;
    case 'mtls':
      return `was ${before ? lockText(before) : '?'} · ${counts}`;
    default:
      return `${kind} · ${counts}`;
  }
}

function byPair(edges: GraphEdge[]): Map<string, GraphEdge[]> {
  const pairs = new Map<string, GraphEdge[]>();
  for (const edge of edges) {
    const pair = `${edge.source} ${edge.target}`;
    pairs.set(pair, [...(pairs.get(pair) ?? []), edge]);
  }
  return pairs;
}

function between(before: GraphEdge[], after: GraphEdge[]): Change[] {
  const gone = before.filter((edge) => !after.some(({ id }) => id === edge.id));
  const come = after.filter((edge) => !before.some(({ id }) => id === edge.id));
  const turned = come.map((edge) => {
    const at = gone.findIndex(({ verdict }) => verdict !== edge.verdict);
    const [old] = at < 0 ? [] : gone.splice(at, 1);
    return old ? change('verdict', edge, old, edge) : change('came', edge, null, edge);
  });
  const protectedOtherwise = after.flatMap((edge) => {
    const old = before.find(({ id }) => id === edge.id);
    return old && lockText(old) !== lockText(edge) ? [change('mtls', edge, old, edge)] : [];
  });
  return [...turned, ...gone.map((edge) => change('went', edge, edge, null)), ...protectedOtherwise];
}

function change(kind: Kind, { id, source, target }: GraphEdge, before: GraphEdge | null, after: GraphEdge | null): Change {
  return { id, kind, source, target, before, after };
}
