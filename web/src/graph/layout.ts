// Where nodes and labels go. ELK works it out, and of large graphs a layout of our own; both in workers.

import ELK, { type ElkExtendedEdge, type ElkNode } from 'elkjs/lib/elk-api.js';
import workerUrl from 'elkjs/lib/elk-worker.min.js?url';

import type { GraphEdge, GraphNode } from '../lib/types';
import { NODE_HEIGHT, type Layout } from './route';
import { IN_A_LINE, label, lockText, type LabelOptions } from './text';
import type { Asked } from './tiers';

/// Loaded with the first graph that needs it: it is larger than all else together.
let elk: InstanceType<typeof ELK> | undefined;

export function nodeWidth(node: GraphNode): number {
  return Math.min(280, Math.max(120, 66 + node.name.length * 9.6));
}

/// What decides about the places: nodes and edges, and what is told of them; the numbers themselves do not.
export function shape(nodes: GraphNode[], edges: GraphEdge[], options: LabelOptions): string {
  return [...options, ...[...nodes, ...edges].map(({ id }) => id).sort()].join('\n');
}

/// Room for the label of an edge, with numbers as long as they get.
function labelSize(edge: GraphEdge, options: LabelOptions): { width: number; height: number } {
  if (edge.verdict === 'allowed') {
    const lock = edge.lock.state === 'mtls' ? 0 : lockText(edge).length;
    const isLong = options.length > IN_A_LINE;
    return { width: Math.max(isLong ? 230 : 175, 50 + lock * 7), height: 28 + (lock > 0 ? 14 : 0) + (isLong ? 16 : 0) };
  }
  const lines = label(edge, options);
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

/// Above so many edges a graph is large: it is laid out and drawn by simpler means.
export const LARGE = 300;

export async function layout(nodes: GraphNode[], edges: GraphEdge[], options: LabelOptions): Promise<Layout> {
  const begin = performance.now();
  const found = edges.length > LARGE ? await layoutInTiers(nodes, edges) : await layoutByElk(nodes, edges, options);
  // For whoever measures (e2e/scale.mjs).
  performance.measure('layout', { start: begin });
  return found;
}

/// A worker for each layout: it takes little to start, and nothing is left of it.
function layoutInTiers(nodes: GraphNode[], edges: GraphEdge[]): Promise<Layout> {
  const worker = new Worker(new URL('./tiers.worker.ts', import.meta.url), { type: 'module' });
  const asked: Asked = {
    nodes: nodes.map(({ id, namespace }) => ({ id, namespace })),
    edges: edges.map(({ id, source, target }) => ({ id, source, target })),
  };
  const told = new Promise<Layout>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Layout>) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message || 'the worker that lays graphs out did not load'));
  });
  worker.postMessage(asked);
  return told.finally(() => worker.terminate());
}

async function layoutByElk(nodes: GraphNode[], edges: GraphEdge[], options: LabelOptions): Promise<Layout> {
  const spaces = [...new Set(nodes.map((node) => node.namespace))].filter(Boolean).sort();
  const leaf = (node: GraphNode): ElkNode => ({ id: node.id, width: nodeWidth(node), height: NODE_HEIGHT });
  const inside = (name: string) => nodes.filter((node) => node.namespace === name).map(leaf);
  elk ??= new ELK({ workerFactory: () => new Worker(workerUrl) });
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
      labels: [{ id: `label ${edge.id}`, text: 'label', ...labelSize(edge, options) }],
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
