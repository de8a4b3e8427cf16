import { useLoaded } from '../lib/api';
import { Command, Empty, Link, Trouble } from '../lib/Parts';
import type { ControlPlane, Mesh, Sidecar, Workload } from '../lib/types';
import { Validity } from './Certificates';
import { ControlPlaneCards, Events } from './ControlPlane';
import { workloadLink } from './links';

export function MeshPage() {
  const { data, error } = useLoaded<Mesh>('/api/mesh', 2000);
  const { data: told } = useLoaded<ControlPlane>('/api/control-plane', 3000);
  return (
    <>
      <header className="bar">
        <h1>Mesh</h1>
        {data && <p>Trust domain {data.trustDomain}</p>}
      </header>
      {error && <Trouble text={error} />}
      {!data && !error && <Empty title="Loading">Asking the mesh.</Empty>}
      {data && (
        <>
          {told && <ControlPlaneCards told={told} />}
          <h2>Sidecars</h2>
          {data.controlPlaneTrouble !== null ? (
            <Empty title="Not known">The control plane tells it, and does not answer. Sidecars go on with what they have.</Empty>
          ) : data.sidecars.length === 0 ? (
            <Empty title="No sidecar is connected">
              <p>Pods get one when their namespace says so. Then restart them:</p>
              <code className="block">kubectl label namespace NAMESPACE istio-injection=enabled</code>
            </Empty>
          ) : (
            <Sidecars sidecars={data.sidecars} nowMs={data.nowMs} />
          )}
          <Command>palisade proxy-status</Command>
          <h2>Workloads</h2>
          <Workloads workloads={data.workloads} />
          <Command>palisade status</Command>
          {told && <Events events={told.events} />}
        </>
      )}
    </>
  );
}

function Sidecars({ sidecars, nowMs }: { sidecars: Sidecar[]; nowMs: number }) {
  return (
    <div className="scroll">
      <table>
        <caption className="hidden">Sidecars, what each has in force, and certificates</caption>
        <thead>
          <tr>
            <th scope="col">Sidecar</th>
            <th scope="col">Configuration</th>
            <th scope="col">Generation</th>
            <th scope="col">Certificate</th>
            <th scope="col">Serial</th>
            <th scope="col">Last report</th>
          </tr>
        </thead>
        <tbody>
          {sidecars.map((it) => (
            <tr key={it.proxy}>
              <th scope="row">{it.proxy}</th>
              <td>
                <State sidecar={it} />
              </td>
              <td className="number">
                {it.acknowledged}
                {it.acknowledged < it.wanted && ` of ${it.wanted}`}
              </td>
              <td>{it.certificate ? <Validity from={it.certificate.notBefore} to={it.certificate.notAfter} now={nowMs / 1000} /> : 'not reported yet'}</td>
              <td>
                <code className="serial" title={it.certificate?.serial}>
                  {it.certificate?.serial.slice(0, 16) ?? '–'}
                </code>
              </td>
              <td>{it.seenMs === null ? 'none yet' : `${Math.max(0, Math.round((nowMs - it.seenMs) / 1000))} s ago`}{it.lost > 0 && `, ${it.lost} lost`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function State({ sidecar }: { sidecar: Sidecar }) {
  if (sidecar.error) return <span className="valid bad">✕ rejected: {sidecar.error}</span>;
  if (!sidecar.connected) return <span className="valid bad">✕ not connected</span>;
  return sidecar.synced ? <span className="valid good">✓ in force</span> : <span className="valid warning">! on its way</span>;
}

function Workloads({ workloads }: { workloads: Workload[] }) {
  if (workloads.length === 0) {
    return (
      <Empty title="No pods">
        <p>Apply some manifests:</p>
        <code className="block">palisade apply manifests/</code>
      </Empty>
    );
  }
  return (
    <div className="scroll">
      <table>
        <caption className="hidden">Pods, with identity and mTLS mode</caption>
        <thead>
          <tr>
            <th scope="col">Pod</th>
            <th scope="col">Namespace</th>
            <th scope="col">Sidecar</th>
            <th scope="col">Identity</th>
            <th scope="col">mTLS</th>
            <th scope="col">Policies</th>
            <th scope="col">Address</th>
          </tr>
        </thead>
        <tbody>
          {workloads.map((it) => (
            <tr key={`${it.namespace}/${it.pod}`}>
              <th scope="row">
                <Link to={workloadLink(it.namespace, it.workload)}>{it.pod}</Link>
              </th>
              <td>{it.namespace}</td>
              <td>{it.sidecar ? 'yes' : <span className="valid warning">! none</span>}</td>
              <td>
                <code>{it.identity ?? 'none: it speaks plaintext'}</code>
              </td>
              <td>{it.sidecar ? it.mtls : '–'}</td>
              <td>{it.sidecar ? <Link to={`/istio?workload=${it.workload}.${it.namespace}`}>{`${it.policies.length} in order`}</Link> : '–'}</td>
              <td>{it.address ?? '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
