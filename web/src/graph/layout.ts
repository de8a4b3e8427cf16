// Where nodes and labels go. ELK works it out in a worker; the same graph is laid out once.

import ELK, { type ElkExtendedEdge, type ElkNode } from 'elkjs/lib/elk-api.js';
import workerUrl from 'elkjs/lib/elk-worker.min.js?url';

import type { GraphEdge, GraphNode } from '../lib/types';
import { label, lockText } from './text';

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  width: number;
  height: number;
}

export interface Layout {
  nodes: Map<string, Box>;
  namespaces: Map<string, Box>;
  /// Middles of the labels of edges.
  labels: Map<string, Point>;
}

const elk = new ELK({ workerFactory: () => new Worker(workerUrl) });

export const NODE_HEIGHT = 52;

export function nodeWidth(node: GraphNode): number {
  return Math.min(280, Math.max(120, 66 + node.name.length * 9.6));
}

/// What decides about the places: nodes and edges; the numbers on edges do not.
export function shape(nodes: GraphNode[], edges: GraphEdge[]): string {
  return [...nodes, ...edges].map(({ id }) => id).sort().join('\n');
}

/// Room for the label of an edge, with numbers as long as they get.
function labelSize(edge: GraphEdge): { width: number; height: number } {
  if (edge.verdict === 'allowed') {
    const lock = edge.lock.state === 'mtls' ? 0 : lockText(edge).length;
    return { width: Math.max(175, 50 + lock * 7), height: lock > 0 ? 42 : 28 };
  }
  const lines = label(edge, { rate: true, errors: true, p95: true });
  return { width: 74 + Math.max(...lines.map((line) => line.length)) * 6.9, height: 42 };
}

const OPTIONS = {
  'elk.algorithm': 'layered',
  'elk.direction': 'RIGHT',
  'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
  'elk.layered.spacing.nodeNodeBetweenLayers': '40',
  'elk.layered.spacing.edgeNodeBetweenLayers': '30',
  'elk.layered.thoroughness': '3',
  'elk.spacing.nodeNode': '48',
  'elk.spacing.edgeNode': '24',
  'elk.spacing.edgeEdge': '18',
  'elk.spacing.edgeLabel': '6',
  'elk.edgeLabels.placement': 'CENTER',
  'elk.edgeLabels.inline': 'true',
  'elk.json.shapeCoords': 'ROOT',
  'elk.json.edgeCoords': 'ROOT',
};

export async function layout(nodes: GraphNode[], edges: GraphEdge[]): Promise<Layout> {
  const spaces = [...new Set(nodes.map((node) => node.namespace))].filter(Boolean).sort();
  const leaf = (node: GraphNode): ElkNode => ({ id: node.id, width: nodeWidth(node), height: NODE_HEIGHT });
  const inside = (name: string) => nodes.filter((node) => node.namespace === name).map(leaf);
  const root = await elk.layout({
    id: 'root',
    layoutOptions: OPTIONS,
    children: [
      ...spaces.map((name) => ({
        id: `namespace ${name}`,
        layoutOptions: { ...OPTIONS, 'elk.padding': '[top=56,left=28,bottom=28,right=28]' },
        children: inside(name),
      })),
      ...inside(''),
    ],
    edges: edges.map((edge) => ({
      id: edge.id,
      sources: [edge.source],
      targets: [edge.target],
      labels: [{ id: `label ${edge.id}`, text: 'label', ...labelSize(edge) }],
    })),
  });
  return read(root);
}

function read(root: ElkNode): Layout {
  const found: Layout = { nodes: new Map(), namespaces: new Map(), labels: new Map() };
  const visit = (node: ElkNode) => {
    const box = { x: node.x ?? 0, y: node.y ?? 0, width: node.width ?? 0, height: node.height ?? 0 };
    if (node.id.startsWith('namespace ')) found.namespaces.set(node.id.slice('namespace '.length), box);
    else if (node !== root) found.nodes.set(node.id, box);
    for (const edge of node.edges ?? []) visitEdge(edge);
    for (const child of node.children ?? []) visit(child);
  };
  const visitEdge = (edge: ElkExtendedEdge) => {
    const box = edge.labels?.[0];
    if (!box) return;
    found.labels.set(edge.id, { x: (box.x ?? 0) + (box.width ?? 0) / 2, y: (box.y ?? 0) + (box.height ?? 0) / 2 });
  };
  visit(root);
  return found;
}

/// The way of an edge: out of its source, through its label, and into its target; what is blocked ends before it.
export function route(source: Box, via: Point, target: Box, blocked: boolean): { path: string; end: Point } {
  const forward = target.x + target.width / 2 >= source.x + source.width / 2;
  const side = (box: Box, right: boolean): Point => {
    const middle = box.y + box.height / 2;
    const lean = Math.max(-16, Math.min(16, (via.y - middle) / 4));
    return { x: right ? box.x + box.width : box.x, y: middle + lean };
  };
  const gap = (blocked ? 16 : 4) * (forward ? -1 : 1);
  const from = side(source, forward);
  const touch = side(target, !forward);
  const end = { x: touch.x + gap, y: touch.y };
  const half = (a: Point, b: Point) => {
    const reach = (b.x - a.x) / 2;
    return `C ${a.x + reach} ${a.y} ${b.x - reach} ${b.y} ${b.x} ${b.y}`;
  };
  return { path: `M ${from.x} ${from.y} ${half(from, via)} ${half(via, end)}`, end };
}
