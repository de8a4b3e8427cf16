// The control plane and its authority, and what happened in the mesh.

import { useState } from 'react';

import { plural } from '../graph/text';
import { Command, Empty, Head, Trouble } from '../lib/Parts';
import type { Authority, ControlPlane, MeshEvent } from '../lib/types';
import { Validity } from './Certificates';

export function ControlPlaneCards({ told: { controlPlane, trouble, nowMs } }: { told: ControlPlane }) {
  if (!controlPlane) return <Trouble text={`The control plane does not answer (${trouble ?? 'nothing came'}). Sidecars go on with what they have. See \`palisade status\`, and control.log in the state directory, or on Kubernetes \`kubectl logs -n istio-system deploy/istiod\`.`} />;
  const { version, generation, troubles, authority } = controlPlane;
  const isRotating = authority.step !== 'settled';
  return (
    <div className="cards">
      <section className="card">
        <h2>Control plane</h2>
        <dl>
          <Row name="Version" value={version} />
          <Row name="Generation" value={String(generation)} />
          <Row name="Rotation of the root" value={isRotating ? `${authority.step}: a rotation is under way` : 'settled'} />
          <Row name="Roots confirmed by" value={`${authority.confirmed} of ${plural(authority.total, 'sidecar')}`} />
        </dl>
        {Object.entries(troubles).map(([object, why]) => (
          <p key={object} className="valid warning">
            ! {object}: {why}
          </p>
        ))}
        <Command>palisade version</Command>
      </section>
      <section className="card">
        <h2>{authority.roots.length === 1 ? 'Root certificate' : 'Root certificates'}</h2>
        {authority.roots.map((root) => (
          <Root key={root.fingerprint} root={root} signs={root.serial === authority.signer.serial} nowMs={nowMs} />
        ))}
        {authority.waiting.length > 0 && <p>Waiting for {authority.waiting.map(({ who, reason }) => `${who} (${reason})`).join(', ')}.</p>}
        <Command>palisade ca status</Command>
      </section>
    </div>
  );
}

function Row({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Root({ root, signs, nowMs }: { root: Authority; signs: boolean; nowMs: number }) {
  const seconds = (time: string) => Date.parse(time) / 1000;
  return (
    <>
      <p>
        <b>{root.subject}</b> {signs && <span className="pill">signs</span>}
      </p>
      <Validity from={seconds(root.notBefore)} to={seconds(root.notAfter)} now={nowMs / 1000} />
      <p>
        <code className="serial wrap">SHA-256 {root.fingerprint}</code>
      </p>
    </>
  );
}

/// Events that are shown at first.
const FIRST = 20;

export function Events({ events }: { events: MeshEvent[] }) {
  const [all, setAll] = useState(false);
  return (
    <>
      <h2>Events</h2>
      {events.length === 0 ? (
        <Empty title="No events">Nothing happened to any object within the last hour.</Empty>
      ) : (
        <div className="scroll">
          <table className="events">
            <caption className="hidden">What happened to objects, newest first</caption>
            <Head of={['Last', 'Object', 'Reason', 'What', 'Times']} />
            <tbody>
              {(all ? events : events.slice(0, FIRST)).map((event, index) => (
                <tr key={index}>
                  <td className="number">
                    <time dateTime={event.time}>{new Date(event.time).toLocaleTimeString()}</time>
                  </td>
                  <th scope="row">{event.object}</th>
                  <td>{event.warning ? <span className="valid warning">! {event.reason}</span> : event.reason}</td>
                  <td>{event.message}</td>
                  <td className="number">{event.count}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {!all && events.length > FIRST && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {events.length}
        </button>
      )}
      <Command>kubectl get events -A --sort-by=.lastTimestamp</Command>
    </>
  );
}
