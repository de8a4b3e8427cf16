// The same as the drawing, as a table that sorts.

import { useMemo, useState } from 'react';

import type { GraphEdge, GraphNode } from '../lib/types';
import { LockIcon } from './Icons';
import { lockText, milliseconds, policyName, rate, refusalText, short, title } from './text';

interface Column {
  name: string;
  value: (edge: GraphEdge) => string | number;
}

interface Props {
  edges: GraphEdge[];
  nodes: Map<string, GraphNode>;
  selected: string;
  found: Set<string>;
  onSelect: (id: string) => void;
}

export function reason(edge: GraphEdge): string {
  if (edge.verdict === 'refused') return refusalText(edge);
  return edge.denials.map(policyName).join(', ');
}

export function EdgeTable({ edges, nodes, selected, found, onSelect }: Props) {
  const columns: Column[] = useMemo(() => {
    const name = (id: string) => title(nodes.get(id));
    return [
      { name: 'Source', value: (edge) => name(edge.source) },
      { name: 'Destination', value: (edge) => name(edge.target) },
      { name: 'Verdict', value: (edge) => edge.verdict },
      { name: 'Security', value: (edge) => edge.lock.percent ?? -1 },
      { name: 'Rate', value: (edge) => edge.traffic.rate },
      { name: 'Errors', value: (edge) => edge.traffic.errorPercent },
      { name: 'p95', value: (edge) => edge.traffic.p95Ms ?? -1 },
      { name: 'Policy or reason', value: reason },
    ];
  }, [nodes]);
  const [most, setMost] = useState(STEP);
  const [sort, setSort] = useState({ by: 'Source', down: false });
  const rows = useMemo(() => {
    const column = columns.find((it) => it.name === sort.by);
    const compare = (one: GraphEdge, other: GraphEdge) => {
      const [a, b] = [column?.value(one) ?? '', column?.value(other) ?? ''];
      const order = typeof a === 'number' && typeof b === 'number' ? a - b : COLLATOR.compare(String(a), String(b));
      return (sort.down ? -order : order) || COLLATOR.compare(one.id, other.id);
    };
    return [...edges].sort(compare);
  }, [edges, columns, sort]);
  return (
    <div className="scroll">
      <table className="edges">
        <caption className="hidden">Calls of the time range; select one for details</caption>
        <thead>
          <tr>
            {columns.map(({ name }) => (
              <th key={name} scope="col" aria-sort={sort.by === name ? (sort.down ? 'descending' : 'ascending') : 'none'}>
                <button type="button" onClick={() => setSort((old) => ({ by: name, down: old.by === name && !old.down }))}>
                  {name}
                  <span aria-hidden="true">{sort.by === name ? (sort.down ? ' ▾' : ' ▴') : ''}</span>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, most).map((edge) => (
            <tr key={edge.id} className={`${edge.verdict}${selected === edge.id ? ' selected' : ''}${found.has(edge.id) ? ' found' : ''}`}>
              <th scope="row">
                <button type="button" aria-pressed={selected === edge.id} onClick={() => onSelect(edge.id)}>
                  {title(nodes.get(edge.source))}
                </button>
              </th>
              <td>{title(nodes.get(edge.target))}</td>
              <td>
                <span className={`pill ${edge.verdict}`}>{edge.verdict === 'refused' ? 'refused' : edge.verdict}</span>
              </td>
              <td className="security">
                <LockIcon state={edge.lock.state} /> {lockText(edge)}
              </td>
              <td className="number">{edge.verdict === 'allowed' ? rate(edge.traffic.rate) : `${edge.traffic.count}×`}</td>
              <td className="number">{edge.verdict === 'allowed' ? `${short(edge.traffic.errorPercent)} %` : '–'}</td>
              <td className="number">{milliseconds(edge.traffic.p95Ms)}</td>
              <td>{reason(edge) || '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > most && (
        <p className="more">
          {most} of {rows.length} calls are shown.{' '}
          <button type="button" onClick={() => setMost(most + STEP)}>
            Show {Math.min(STEP, rows.length - most)} more
          </button>
        </p>
      )}
    </div>
  );
}

const COLLATOR = new Intl.Collator();
/// Rows that are shown at first, and more each time.
const STEP = 100;
