// Where nodes go. ELK works it out in a worker; the same graph is laid out once.

import ELK, { type ElkNode } from 'elkjs/lib/elk-api.js';
import workerUrl from 'elkjs/lib/elk-worker.min.js?url';

import type { GraphEdge, GraphNode } from '../lib/types';
import { title } from './text';

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  nodes: Map<string, Box>;
  namespaces: Map<string, Box>;
}

const elk = new ELK({ workerFactory: () => new Worker(workerUrl) });

export const NODE_HEIGHT = 52;

export function nodeWidth(node: GraphNode): number {
  return Math.min(260, Math.max(110, 56 + title(node).length * 8));
}

/// What decides about the places: nodes, who is connected, and the boxes; numbers on edges do not.
export function shape(nodes: GraphNode[], edges: GraphEdge[]): string {
  const pairs = new Set(edges.map((edge) => `${edge.source}>${edge.target}`));
  return [...nodes.map((node) => node.id).sort(), ...[...pairs].sort()].join('\n');
}

export async function layout(nodes: GraphNode[], edges: GraphEdge[]): Promise<Layout> {
  const spaces = [...new Set(nodes.map((node) => node.namespace))].filter(Boolean).sort();
  const leaf = (node: GraphNode): ElkNode => ({ id: node.id, width: nodeWidth(node), height: NODE_HEIGHT });
  const inside = (name: string) => nodes.filter((node) => node.namespace === name).map(leaf);
  const pairs = new Map(edges.map((edge) => [`${edge.source}>${edge.target}`, edge]));
  const root = await elk.layout({
    id: 'root',
    layoutOptions: {
      'elk.algorithm': 'layered',
      'elk.direction': 'RIGHT',
      'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
      'elk.layered.spacing.nodeNodeBetweenLayers': '230',
      'elk.spacing.nodeNode': '56',
      'elk.layered.thoroughness': '3',
    },
    children: [
      ...spaces.map((name) => ({
        id: `namespace ${name}`,
        layoutOptions: { 'elk.padding': '[top=52,left=28,bottom=28,right=28]' },
        children: inside(name),
      })),
      ...inside(''),
    ],
    edges: [...pairs].map(([id, edge]) => ({ id, sources: [edge.source], targets: [edge.target] })),
  });
  const found: Layout = { nodes: new Map(), namespaces: new Map() };
  for (const child of root.children ?? []) {
    const box = { x: child.x ?? 0, y: child.y ?? 0, width: child.width ?? 0, height: child.height ?? 0 };
    if (!child.id.startsWith('namespace ')) {
      found.nodes.set(child.id, box);
      continue;
    }
    found.namespaces.set(child.id.slice('namespace '.length), box);
    for (const leaf of child.children ?? []) {
      const [x, y] = [box.x + (leaf.x ?? 0), box.y + (leaf.y ?? 0)];
      found.nodes.set(leaf.id, { x, y, width: leaf.width ?? 0, height: leaf.height ?? 0 });
    }
  }
  return found;
}
