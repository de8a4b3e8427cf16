// A simple layout for graphs that the good one takes too long for: callers left of whom they call, each namespace
// a block of its own. It takes milliseconds, whatever the graph; the page has it done in a worker.

import type { GraphEdge, GraphNode } from '../lib/types';
import { NODE_HEIGHT, type Box, type Layout } from './route';

const WIDTH = 200;
const [COLUMN, ROW] = [WIDTH + 120, NODE_HEIGHT + 26];
const [SIDE, TOP] = [28, 56];
const GAP = 90;
const SWEEPS = 4;

/// How far each node is from those whom nobody calls, by the shortest way.
export function tiers(nodes: string[], edges: [string, string][]): Map<string, number> {
  const next = new Map<string, string[]>(nodes.map((id) => [id, []]));
  const called = new Map<string, number>(nodes.map((id) => [id, 0]));
  for (const [from, to] of edges) {
    if (from === to || !next.has(from) || !called.has(to)) continue;
    next.get(from)?.push(to);
    called.set(to, (called.get(to) ?? 0) + 1);
  }
  const tier = new Map<string, number>();
  const spread = (roots: string[]) => {
    for (const id of roots) tier.set(id, 0);
    const queue = [...roots];
    // The queue grows while it is gone through.
    for (const id of queue) {
      for (const to of next.get(id) ?? []) {
        if (tier.has(to)) continue;
        tier.set(to, (tier.get(id) ?? 0) + 1);
        queue.push(to);
      }
    }
  };
  const byCallers = [...nodes].sort((one, other) => (called.get(one) ?? 0) - (called.get(other) ?? 0));
  spread(byCallers.filter((id) => called.get(id) === 0));
  // On a circle that nobody calls, whoever is called by the fewest begins.
  for (const id of byCallers) if (!tier.has(id)) spread([id]);
  return tier;
}

/// The nodes of a block in columns, each near the middle of those whom it calls or who call it.
function columns(nodes: string[], tier: Map<string, number>, near: Map<string, string[]>): string[][] {
  const used = [...new Set(nodes.map((id) => tier.get(id) ?? 0))].sort((a, b) => a - b);
  const all = used.map((it) => nodes.filter((id) => tier.get(id) === it));
  const place = new Map<string, number>();
  const note = () => {
    for (const column of all) column.forEach((id, index) => place.set(id, index - column.length / 2));
  };
  note();
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const column of all) {
      const middle = (id: string) => {
        const others = (near.get(id) ?? []).map((other) => place.get(other)).filter((it) => it !== undefined);
        return others.length > 0 ? others.reduce((sum, it) => sum + it, 0) / others.length : (place.get(id) ?? 0);
      };
      const middles = new Map(column.map((id) => [id, middle(id)]));
      column.sort((a, b) => (middles.get(a) ?? 0) - (middles.get(b) ?? 0));
    }
    note();
  }
  return all;
}

/// What of a graph decides about the places.
export interface Asked {
  nodes: Pick<GraphNode, 'id' | 'namespace'>[];
  edges: Pick<GraphEdge, 'id' | 'source' | 'target'>[];
}

export function layoutInTiers(nodes: Asked['nodes'], edges: Asked['edges']): Layout {
  const tier = tiers(
    nodes.map(({ id }) => id),
    edges.map(({ source, target }) => [source, target]),
  );
  const near = new Map<string, string[]>();
  for (const { source, target } of edges) {
    near.set(source, [...(near.get(source) ?? []), target]);
    near.set(target, [...(near.get(target) ?? []), source]);
  }
  const spaces = [...new Set(nodes.map(({ namespace }) => namespace))].sort();
  const blocks = spaces.map((name) => {
    const own = nodes.filter(({ namespace }) => namespace === name).map(({ id }) => id);
    const all = columns(own, tier, near);
    const rows = Math.max(...all.map((column) => column.length));
    return { name, all, rows, width: all.length * COLUMN - (COLUMN - WIDTH) + 2 * SIDE, height: rows * ROW + TOP + SIDE };
  });
  const area = blocks.reduce((sum, { width, height }) => sum + (width + GAP) * (height + GAP), 0);
  const widest = Math.max(Math.sqrt(area * 1.7), ...blocks.map(({ width }) => width));
  const found: Layout = { nodes: new Map(), namespaces: new Map(), labels: new Map() };
  let [x, y, shelf] = [0, 0, 0];
  for (const { name, all, rows, width, height } of blocks) {
    if (x > 0 && x + width > widest) [x, y, shelf] = [0, y + shelf + GAP, 0];
    if (name) found.namespaces.set(name, { x, y, width, height });
    all.forEach((column, index) => {
      const down = y + TOP + ((rows - column.length) * ROW) / 2;
      column.forEach((id, row) => found.nodes.set(id, { x: x + SIDE + index * COLUMN, y: down + row * ROW, width: WIDTH, height: NODE_HEIGHT }));
    });
    x += width + GAP;
    shelf = Math.max(shelf, height);
  }
  const middle = (box: Box) => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
  for (const { id, source, target } of edges) {
    const [from, to] = [found.nodes.get(source), found.nodes.get(target)];
    if (!from || !to) continue;
    const [a, b] = [middle(from), middle(to)];
    found.labels.set(id, { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  }
  return found;
}
