import { useMemo, useState } from 'react';

import { plural, short } from '../graph/text';
import { useGraph, useLoaded } from '../lib/api';
import { groups, health, inbound, type Health, type WorkloadGroup } from '../lib/health';
import { Command, Empty, Head, Link, Trouble } from '../lib/Parts';
import { useAddress } from '../lib/router';
import type { Mesh } from '../lib/types';
import { workloadLink } from './links';
import { WorkloadPage } from './Workload';

export const HEALTH_RANGE = '300';

export function WorkloadsPage() {
  const { pathname } = useAddress();
  const [, , namespace, name] = pathname.split('/').map(decodeURIComponent);
  return namespace && name ? <WorkloadPage namespace={namespace} name={name} /> : <WorkloadList />;
}

/// All workloads with their health in the last minutes.
export function useWorkloads() {
  const { data: mesh, error } = useLoaded<Mesh>('/api/mesh', 3000);
  const { data: graph } = useGraph(`type=workload&range=${HEALTH_RANGE}`, true);
  const rows = useMemo(() => {
    const edges = inbound(graph);
    return groups(mesh?.workloads ?? []).map((group) => ({ group, health: health(group, edges.get(group.key) ?? []) }));
  }, [mesh, graph]);
  return { mesh, error, rows };
}

export function HealthMark({ health: { state, word, why } }: { health: Health }) {
  const sign = { good: '✓', warning: '!', bad: '✕', idle: '–' }[state];
  return (
    <span className={`valid ${state}`} title={why}>
      <i aria-hidden="true">{sign}</i> {word}
    </span>
  );
}

export function Blocked({ count }: { count: number }) {
  return count > 0 ? <span className="pill denied">{count} blocked</span> : <>–</>;
}

function WorkloadList() {
  const { mesh, error, rows } = useWorkloads();
  const [filter, setFilter] = useState('');
  const shown = rows.filter(({ group }) => group.key.includes(filter.trim().toLowerCase()));
  return (
    <>
      <header className="bar">
        <h1>Workloads</h1>
        <label className="choice">
          <span>Filter by namespace or name</span>
          <input type="search" value={filter} onChange={(event) => setFilter(event.target.value)} />
        </label>
      </header>
      {error && <Trouble text={error} />}
      {!mesh && !error && <Empty title="Loading">Asking the mesh.</Empty>}
      {mesh && rows.length === 0 && (
        <Empty title="No workloads">
          <p>Apply some manifests:</p>
          <code className="block">palisade apply manifests/</code>
        </Empty>
      )}
      {rows.length > 0 && shown.length === 0 && <Empty title="Nothing matches">Clear the filter to see {plural(rows.length, 'workload')}.</Empty>}
      {shown.length > 0 && <Table rows={shown} />}
      <p className="note quiet">Health is of the last five minutes, by errors of requests that were let through. What policies refuse is counted beside it, and does not make a workload look ill.</p>
      <Command>palisade status</Command>
    </>
  );
}

function Table({ rows }: { rows: { group: WorkloadGroup; health: Health }[] }) {
  return (
    <div className="scroll">
      <table>
        <caption className="hidden">Workloads with health, traffic and protection</caption>
        <Head of={['Workload', 'Namespace', 'Health', 'Requests', 'Errors', 'Blocked', 'mTLS', 'Pods']} />
        <tbody>
          {rows.map(({ group, health: it }) => (
            <tr key={group.key}>
              <th scope="row">
                <Link to={workloadLink(group.namespace, group.name)}>{group.name}</Link>
              </th>
              <td>{group.namespace}</td>
              <td>
                <HealthMark health={it} />
              </td>
              <td className="number">{it.requests}</td>
              <td className="number">{it.requests > 0 ? `${short(it.errorPercent)} %` : '–'}</td>
              <td>
                <Blocked count={it.blocked} />
              </td>
              <td>{modes(group)}</td>
              <td className="number">{group.pods.length}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/// The modes of a workload's pods, or that they have no sidecar.
export function modes(group: WorkloadGroup): string {
  return [...new Set(group.pods.map((pod) => (pod.sidecar ? pod.mtls : 'no sidecar')))].join(', ');
}
