import { expect, it } from 'vitest';

import { edge, node } from '../lib/fixtures';
import { layoutInTiers, tiers } from './tiers';

it('callers are left of whom they call, on circles too', () => {
  const of = (edges: [string, string][]) => [...tiers(['a', 'b', 'c', 'd'], edges)].sort().map(([, tier]) => tier);
  expect(of([['a', 'b'], ['b', 'c'], ['a', 'c'], ['c', 'd']])).toEqual([0, 1, 1, 2]);
  expect(of([['a', 'b'], ['b', 'a'], ['c', 'd'], ['d', 'd']])).toEqual([0, 1, 0, 1]);
  expect(of([])).toEqual([0, 0, 0, 0]);
});

it('no two nodes share a place, and each is in the box of its namespace', () => {
  const nodes = Array.from({ length: 60 }, (_, index) => node(`w${index}`, { namespace: `ns-${index % 4}` }));
  const edges = nodes.flatMap((from, index) => [1, 7, 13].map((step) => edge(from, nodes[(index * 3 + step) % 60] ?? from)));
  const { nodes: boxes, namespaces, labels } = layoutInTiers(nodes, edges);
  expect(new Set([...boxes.values()].map(({ x, y }) => `${x},${y}`)).size).toBe(60);
  expect(labels.size).toBe(new Set(edges.map(({ id }) => id)).size);
  for (const { id, namespace } of nodes) {
    const [inner, outer] = [boxes.get(id), namespaces.get(namespace)];
    if (!inner || !outer) throw new Error(id);
    expect(inner.x >= outer.x && inner.y >= outer.y && inner.x + inner.width <= outer.x + outer.width && inner.y + inner.height <= outer.y + outer.height).toBe(true);
  }
  const all = [...namespaces.values()];
  const apart = all.every((one) => all.every((other) => one === other || one.x + one.width <= other.x || other.x + other.width <= one.x || one.y + one.height <= other.y || other.y + other.height <= one.y));
  expect(apart).toBe(true);
});
