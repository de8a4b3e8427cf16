import { expect, it } from 'vitest';

import { edge, node } from '../lib/fixtures';
import type { Graph, GraphEdge } from '../lib/types';
import { changes, differenceGraph, text } from './difference';

const [web, api, db] = [node('web'), node('api'), node('db')];
const graph = (...edges: GraphEdge[]): Graph => ({ atMs: 1, rangeMs: 1, sinceMs: 1, lost: 0, nodes: [web, api, db], edges });
const counted = (of: GraphEdge, count: number): GraphEdge => ({ ...of, traffic: { ...of.traffic, count } });
const allowed = edge(web, api);
const denied = edge(web, api, { verdict: 'denied' });
const refused = (reason: string) => edge(web, api, { verdict: 'refused', id: `web ${reason} api:80`, refusal: { reason, address: '10.0.0.1', port: 80 } });
const partly = edge(web, api, { lock: { state: 'partly', percent: 60 } });
const plaintext = edge(web, api, { lock: { state: 'plaintext', percent: 0 } });

it.each<[string, GraphEdge[], GraphEdge[], string[]]>([
  ['nothing and nothing', [], [], []],
  ['the same', [allowed], [allowed], []],
  ['other numbers', [allowed], [counted(allowed, 5)], []],
  ['a new edge', [], [allowed], ['came · 0 → 60 calls']],
  ['a lost edge', [counted(allowed, 1)], [], ['went · 1 → 0 calls']],
  ['another verdict', [allowed], [counted(denied, 1)], ['was allowed · 60 → 1 call']],
  ['a second verdict', [allowed], [allowed, denied], ['came · 0 → 60 calls']],
  ['one of two verdicts', [allowed, denied], [denied], ['went · 60 → 0 calls']],
  ['refused for another reason', [refused('plaintext')], [refused('tls_expired')], ['came · 0 → 60 calls', 'went · 60 → 0 calls']],
  ['refused, then denied and allowed', [refused('plaintext')], [allowed, denied], ['came · 0 → 60 calls', 'was refused · 60 → 60 calls']],
  ['no mTLS any more', [allowed], [plaintext], ['was mTLS · 60 → 60 calls']],
  ['more mTLS', [partly], [allowed], ['was mTLS 60 % · 60 → 60 calls']],
  ['others come first', [plaintext], [allowed, edge(api, db)], ['came · 0 → 60 calls', 'was plaintext · 60 → 60 calls']],
])('between two times: %s', (_, before, after, expected) => {
  const all = changes(graph(...before), graph(...after));
  expect(all.map(text)).toEqual(expected);
  const { graph: drawn, changed } = differenceGraph(graph(...before), graph(...after), all);
  expect(drawn.edges.filter((it) => it.change).map(({ id }) => id).sort()).toEqual([...changed].sort());
  expect(new Set(drawn.edges.map(({ id }) => id)).size).toBe(drawn.edges.length);
  for (const it of drawn.edges) expect(drawn.nodes.map(({ id }) => id)).toEqual(expect.arrayContaining([it.source, it.target]));
});

it('does not depend on the order of edges', () => {
  const [before, after] = [[allowed, edge(api, db)], [denied, edge(web, db), edge(api, db)]];
  const told = changes(graph(...before), graph(...after)).map(text);
  expect(changes(graph(...before.reverse()), graph(...after.reverse())).map(text)).toEqual(told);
});
