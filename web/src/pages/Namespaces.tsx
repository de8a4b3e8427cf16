import { plural } from '../graph/text';
import { useLoaded } from '../lib/api';
import { Command, Empty, Head, Link, Trouble } from '../lib/Parts';
import type { ConfigObject } from '../lib/types';
import { Blocked, HealthMark, useWorkloads } from './Workloads';

export function NamespacesPage() {
  const { mesh, error, rows } = useWorkloads();
  const { data: config } = useLoaded<{ objects: ConfigObject[] }>('/api/config', 5000);
  if (error) return <Trouble text={error} />;
  if (!mesh) return <Empty title="Loading">Asking the mesh.</Empty>;
  return (
    <>
      <header className="bar">
        <h1>Namespaces</h1>
      </header>
      <div className="scroll">
        <table>
          <caption className="hidden">Namespaces with workloads, protection and policies</caption>
          <Head of={['Namespace', 'Sidecars', 'Workloads', 'Health', 'Blocked', 'mTLS', 'Policies', 'Graph']} />
          <tbody>
            {mesh.namespaces.map(({ name, injected }) => {
              const own = rows.filter(({ group }) => group.namespace === name);
              const pods = own.flatMap(({ group }) => group.pods);
              const objects = (config?.objects ?? []).filter((object) => object.namespace === name);
              const problems = objects.filter((object) => object.problems.length > 0).length;
              const ill = own.filter(({ health }) => health.state === 'bad' || health.state === 'warning');
              return (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>{injected ? 'injected' : pods.some((pod) => pod.sidecar) ? 'some pods' : 'none'}</td>
                  <td className="number">{own.length}</td>
                  <td>
                    {own.length === 0 ? (
                      '–'
                    ) : ill.length === 0 ? (
                      <span className="valid good">✓ {own.length} fine</span>
                    ) : (
                      ill.map(({ group, health }) => (
                        <span key={group.key}>
                          {group.name} <HealthMark health={health} />
                        </span>
                      ))
                    )}
                  </td>
                  <td>
                    <Blocked count={own.reduce((total, { health }) => total + health.blocked, 0)} />
                  </td>
                  <td>{[...new Set(pods.filter((pod) => pod.sidecar).map((pod) => pod.mtls))].join(', ') || '–'}</td>
                  <td>
                    {objects.length === 0 ? 'none' : <Link to={`/istio?filter=${encodeURIComponent(`/${name}/`)}`}>{plural(objects.length, 'object')}</Link>}
                    {problems > 0 && <span className="valid warning"> ! {problems} with problems</span>}
                  </td>
                  <td>
                    <Link to={`/graph?namespaces=${encodeURIComponent(name)}`}>{`Show ${name}`}</Link>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <Command>kubectl get namespaces --show-labels</Command>
    </>
  );
}
