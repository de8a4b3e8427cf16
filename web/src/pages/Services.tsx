import { useState } from 'react';

import { plural, sentence } from '../graph/text';
import { useGraph } from '../lib/api';
import type { WorkloadGroup, Health } from '../lib/health';
import { Command, Empty, Head, Link, Trouble } from '../lib/Parts';
import { useAddress } from '../lib/router';
import type { Mesh, ServiceView } from '../lib/types';
import { workloadLink } from './links';
import { HEALTH_RANGE, HealthMark, modes, useWorkloads } from './Workloads';

interface Row {
  group: WorkloadGroup;
  health: Health;
}

export function ServicesPage() {
  const { pathname } = useAddress();
  const [, , namespace, name] = pathname.split('/').map(decodeURIComponent);
  const { mesh, error, rows } = useWorkloads();
  if (error) return <Trouble text={error} />;
  if (!mesh) return <Empty title="Loading">Asking the mesh.</Empty>;
  if (!namespace || !name) return <List mesh={mesh} rows={rows} />;
  const service = mesh.services.find((it) => it.namespace === namespace && it.name === name);
  if (!service) {
    return (
      <Empty title={`There is no service ${name} in ${namespace}`}>
        <Link to="/services">See all services</Link>
      </Empty>
    );
  }
  return <Detail service={service} rows={behind(service, rows)} />;
}

const link = (service: ServiceView) => `/services/${encodeURIComponent(service.namespace)}/${encodeURIComponent(service.name)}`;

function behind(service: ServiceView, rows: Row[]): Row[] {
  return rows.filter(({ group }) => group.namespace === service.namespace && service.workloads.includes(group.name));
}

const ports = (service: ServiceView) => service.ports.map(({ port, target }) => (target && target !== port ? `${port} → ${target}` : String(port))).join(', ');

function List({ mesh, rows }: { mesh: Mesh; rows: Row[] }) {
  const [filter, setFilter] = useState('');
  const shown = mesh.services.filter((it) => `${it.namespace}/${it.name}`.includes(filter.trim().toLowerCase()));
  return (
    <>
      <header className="bar">
        <h1>Services</h1>
        <label className="choice">
          <span>Filter by namespace or name</span>
          <input type="search" value={filter} onChange={(event) => setFilter(event.target.value)} />
        </label>
      </header>
      {shown.length === 0 ? (
        <Empty title={mesh.services.length === 0 ? 'No services' : 'Nothing matches'}>
          {mesh.services.length === 0 ? 'Pods are called through services: apply one that selects them.' : `Clear the filter to see ${plural(mesh.services.length, 'service')}.`}
        </Empty>
      ) : (
        <div className="scroll">
          <table>
            <caption className="hidden">Services with what is behind them</caption>
            <Head of={['Service', 'Namespace', 'Health', 'Ports', 'Workloads', 'mTLS']} />
            <tbody>
              {shown.map((service) => {
                const own = behind(service, rows);
                return (
                  <tr key={link(service)}>
                    <th scope="row">
                      <Link to={link(service)}>{service.name}</Link>
                    </th>
                    <td>{service.namespace}</td>
                    <td>
                      {own.length === 0 ? (
                        <span className="valid warning">! nothing behind it</span>
                      ) : (
                        own.map(({ group, health }) => <HealthMark key={group.key} health={health} />)
                      )}
                    </td>
                    <td className="number">{ports(service)}</td>
                    <td>
                      <Workloads rows={own} />
                    </td>
                    <td>{[...new Set(own.map(({ group }) => modes(group)))].join(', ') || '–'}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      <Command>palisade x describe service NAME.NAMESPACE</Command>
    </>
  );
}

function Workloads({ rows }: { rows: Row[] }) {
  if (rows.length === 0) return <>–</>;
  return (
    <ul className="inline">
      {rows.map(({ group }) => (
        <li key={group.key}>
          <Link to={workloadLink(group.namespace, group.name)}>{group.name}</Link>
        </li>
      ))}
    </ul>
  );
}

function Detail({ service, rows }: { service: ServiceView; rows: Row[] }) {
  const { data: graph } = useGraph(`type=service&range=${HEALTH_RANGE}&namespaces=${encodeURIComponent(service.namespace)}`, true);
  const nodes = new Map((graph?.nodes ?? []).map((node) => [node.id, node]));
  const calls = (graph?.edges ?? []).filter((edge) => {
    const target = nodes.get(edge.target);
    return target?.namespace === service.namespace && target.name === service.name;
  });
  return (
    <>
      <header className="bar">
        <h1>
          <Link to="/services">Services</Link> › {service.namespace} › {service.name}
        </h1>
      </header>
      <div className="cards">
        <section className="card">
          <h2>Ports</h2>
          <dl>
            {service.ports.map((port) => (
              <div key={port.port}>
                <dt>
                  {port.port} {port.name}
                </dt>
                <dd>{port.target ? `port ${port.target} of the workload` : 'leads nowhere: no pod has it'}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section className="card">
          <h2>Behind it</h2>
          {rows.length === 0 && <p>No pod has the labels that it selects: calls fail.</p>}
          {rows.map(({ group, health }) => (
            <p key={group.key}>
              <Link to={workloadLink(group.namespace, group.name)}>{group.name}</Link> <HealthMark health={health} /> {modes(group)}
            </p>
          ))}
        </section>
        <section className="card wide">
          <h2>Calls in the last five minutes</h2>
          {calls.length === 0 && <p>Nobody called it.</p>}
          <ul>
            {calls.map((edge) => (
              <li key={edge.id}>
                <Link to={`/graph?type=service&selected=${encodeURIComponent(edge.id)}`}>{sentence(edge, nodes.get(edge.source), nodes.get(edge.target))}</Link>
              </li>
            ))}
          </ul>
        </section>
      </div>
      <Command>{`palisade x describe service ${service.name}.${service.namespace}`}</Command>
    </>
  );
}
