// What changed between two times, drawn and as a table.

import { useMemo } from 'react';

import { Empty, Head } from '../lib/Parts';
import type { Graph, GraphEdge, GraphNode } from '../lib/types';
import { Canvas } from './Canvas';
import { changes, differenceGraph, KINDS, type Change } from './difference';
import { LockIcon } from './Icons';
import { lockText, plural, rate, title } from './text';

const OPTIONS = ['rate'];

interface Props {
  before: Graph;
  after: Graph;
  selected: string;
  onSelect: (id: string) => void;
}

export function Difference({ before, after, selected, onSelect }: Props) {
  const changed = useMemo(() => changes(before, after), [before, after]);
  const drawn = useMemo(() => differenceGraph(before, after, changed), [before, after, changed]);
  const nodes = new Map(drawn.graph.nodes.map((node) => [node.id, node]));
  const times = `${time(before)} and ${time(after)}`;
  if (changed.length === 0) {
    return (
      <Empty title={`No difference between ${times}`}>
        {after.edges.length === 0
          ? 'There was no traffic at either time. Choose other times, or a longer time range.'
          : `The same ${plural(after.edges.length, 'edge')}, with the same verdicts and the same protection, at both. Choose a time before something changed.`}
      </Empty>
    );
  }
  return (
    <>
      <h2>What changed between {times}</h2>
      <div className="stage">
        <Canvas graph={drawn.graph} options={OPTIONS} selected={selected} found={drawn.changed} onSelect={onSelect} />
      </div>
      <div className="scroll">
        <table className="changes">
          <caption className="hidden">Edges that came, went, or got another verdict or protection</caption>
          <Head of={['Change', 'Source', 'Destination', `At ${time(before)}`, `At ${time(after)}`]} />
          <tbody>
            {changed.map((change) => (
              <Row key={change.kind + change.id} change={change} nodes={nodes} isSelected={change.id === selected} onSelect={onSelect} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const time = ({ atMs }: Graph) => new Date(atMs).toLocaleTimeString();

function Row({ change, nodes, isSelected, onSelect }: { change: Change; nodes: Map<string, GraphNode>; isSelected: boolean; onSelect: (id: string) => void }) {
  return (
    <tr className={isSelected ? 'selected' : ''}>
      <th scope="row">
        <button type="button" aria-pressed={isSelected} onClick={() => onSelect(isSelected ? '' : change.id)}>
          {KINDS[change.kind]}
        </button>
      </th>
      <td>{title(nodes.get(change.source))}</td>
      <td>{title(nodes.get(change.target))}</td>
      {[change.before, change.after].map((edge, index) => (
        <td key={index}>
          <Numbers edge={edge} />
        </td>
      ))}
    </tr>
  );
}

function Numbers({ edge }: { edge: GraphEdge | null }) {
  if (!edge) return 'none';
  return (
    <>
      <span className={`pill ${edge.verdict}`}>{edge.verdict}</span> {edge.traffic.count}×, {rate(edge.traffic.rate)}{' '}
      <span className="security">
        <LockIcon state={edge.lock.state} /> {lockText(edge)}
      </span>
    </>
  );
}
