// One workload: who it is, what is enforced at it, what it does and says.

import { lazy, Suspense, useMemo, type KeyboardEvent } from 'react';

import { useGraph, useLoaded } from '../lib/api';
import { groups, health, inbound } from '../lib/health';
import { Command, Empty, Link, Prose, Trouble } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { Access, Mesh, PolicyRef, Workload } from '../lib/types';
import { AccessTables } from './AccessTables';
import { Certificates } from './Certificates';
import { WorkloadTraffic } from './WorkloadTraffic';
import { HEALTH_RANGE, HealthMark } from './Workloads';

const Metrics = lazy(async () => ({ default: (await import('./Metrics')).Metrics }));
const Logs = lazy(async () => ({ default: (await import('./Logs')).Logs }));
const SidecarConfig = lazy(async () => ({ default: (await import('./SidecarConfig')).SidecarConfig }));

const TABS = [
  ['overview', 'Overview'],
  ['access', 'Who may call'],
  ['traffic', 'Traffic'],
  ['metrics', 'Metrics'],
  ['logs', 'Logs'],
  ['config', 'Configuration'],
] as const;

export function WorkloadPage({ namespace, name }: { namespace: string; name: string }) {
  const [tab, setTab] = useParameter('tab', 'overview');
  const { data: mesh, error } = useLoaded<Mesh>('/api/mesh', 3000);
  const { data: graph } = useGraph(`type=workload&range=${HEALTH_RANGE}&namespaces=${encodeURIComponent(namespace)}`, true);
  const of = new URLSearchParams({ namespace, name }).toString();
  const { data: access, error: noAccess } = useLoaded<Access>(`/api/workload?${of}`, 5000);
  const key = `${namespace}/${name}`;
  const group = useMemo(() => groups(mesh?.workloads ?? []).find((it) => it.key === key), [mesh, key]);
  if (error) return <Trouble text={error} />;
  if (!mesh) return <Empty title="Loading">Asking the mesh.</Empty>;
  if (!group) {
    return (
      <Empty title={`There is no workload ${name} in ${namespace}`}>
        <p>Its pods may be gone.</p>
        <Link to="/workloads">See all workloads</Link>
      </Empty>
    );
  }
  return (
    <>
      <header className="bar">
        <h1>
          <Link to="/workloads">Workloads</Link> › {namespace} › {name}
        </h1>
        <p>
          <HealthMark health={health(group, inbound(graph).get(key) ?? [])} />
        </p>
      </header>
      <Tabs tabs={TABS} tab={tab} onTab={setTab} />
      <div role="tabpanel" id="tabpanel" aria-labelledby={`tab-${tab}`} className="tabpanel">
        <Suspense fallback={<Empty title="Loading">Loading.</Empty>}>
          {tab === 'overview' && <Overview pods={group.pods} mesh={mesh} access={access} noAccess={noAccess} />}
          {tab === 'access' && (access ? <AccessTables access={access} to={`${name}.${namespace}`} /> : <Empty title="Loading">{noAccess ?? 'Asking the engine about each caller.'}</Empty>)}
          {tab === 'traffic' && <WorkloadTraffic graph={graph} namespace={namespace} name={name} />}
          {tab === 'metrics' && <Metrics namespace={namespace} name={name} />}
          {tab === 'logs' && <Logs pods={group.pods} />}
          {tab === 'config' && <SidecarConfig pods={group.pods} sidecars={mesh.sidecars} />}
        </Suspense>
      </div>
      {!OWN_COMMAND.includes(tab) && (
        <Command>{COMMANDS[tab]?.(namespace, `${group.pods[0]?.pod ?? name}.${namespace}`) ?? `palisade describe workload ${name}.${namespace}`}</Command>
      )}
    </>
  );
}

/// The command of a tab, by namespace and pod (`POD.NAMESPACE`).
const COMMANDS: Record<string, (namespace: string, pod: string) => string> = {
  traffic: (namespace) => `palisade traffic -n ${namespace}`,
  metrics: (_, pod) => `palisade exec -c istio-proxy ${pod} -- palisade internal request stats/prometheus`,
};

/// Tabs in which a pod is chosen, and the command is about that one.
const OWN_COMMAND = ['logs', 'config'];

export function Tabs({ tabs, tab, onTab }: { tabs: readonly (readonly [string, string])[]; tab: string; onTab: (tab: string) => void }) {
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = tabs.findIndex(([id]) => id === tab);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (!next) return;
    onTab(next[0]);
    document.getElementById(`tab-${next[0]}`)?.focus();
  };
  return (
    <div role="tablist" aria-label="About this workload" className="tabs">
      {tabs.map(([id, name]) => (
        <button
          key={id}
          id={`tab-${id}`}
          type="button"
          role="tab"
          aria-selected={tab === id}
          aria-controls="tabpanel"
          tabIndex={tab === id ? 0 : -1}
          onClick={() => onTab(id)}
          onKeyDown={move}
        >
          {name}
        </button>
      ))}
    </div>
  );
}

export function PolicyLink({ kind, policy }: { kind: string; policy: PolicyRef }) {
  return <Link to={`/istio?object=${kind}/${policy.namespace}/${policy.name}`}>{`${policy.name}.${policy.namespace}`}</Link>;
}

function Overview({ pods, mesh, access, noAccess }: { pods: Workload[]; mesh: Mesh; access: Access | null; noAccess: string | null }) {
  const identities = [...new Set(pods.map((pod) => pod.identity ?? 'none: without a sidecar it speaks plaintext'))];
  const services = [...new Set(pods.flatMap((pod) => pod.services))];
  const first = pods[0];
  return (
    <div className="cards">
      <section className="card">
        <h2>Identity</h2>
        {identities.map((identity) => (
          <p key={identity}>
            <code className="wrap">{identity}</code>
          </p>
        ))}
        <dl>
          <div>
            <dt>App, version</dt>
            <dd>{[first?.app, first?.version].filter(Boolean).join(', ') || '–'}</dd>
          </div>
          <div>
            <dt>Services</dt>
            <dd>
              {services.length === 0 && '–'}
              {services.map((service) => (
                <Link key={service} to={`/services/${first?.namespace ?? ''}/${service}`}>
                  {service}
                </Link>
              ))}
            </dd>
          </div>
        </dl>
      </section>
      <section className="card">
        <h2>Mutual TLS, by port</h2>
        {!access && <p>{noAccess ?? 'Asking the engine.'}</p>}
        {access && !access.sidecar && <p>It has no sidecar: nothing is enforced, and everybody may do anything.</p>}
        <ul className="plain">
          {access?.sidecar &&
            access.ports.map((port) => (
              <li key={port.port}>
                <b>{port.port}</b> {port.protocol && <span className="pill">{port.protocol.toLowerCase()}</span>} {port.mtls}{' '}
                {port.mtlsFrom ? <>by <PolicyLink kind="PeerAuthentication" policy={port.mtlsFrom} /></> : 'by default: no PeerAuthentication says otherwise'}
              </li>
            ))}
        </ul>
      </section>
      <section className="card wide">
        <h2>Pods and certificates</h2>
        <Certificates pods={pods} mesh={mesh} />
      </section>
      <section className="card wide">
        <h2>Policies, in the order in which they decide</h2>
        {!access && <p>{noAccess ?? 'Asking the engine.'}</p>}
        {access?.policies.length === 0 && <p>None applies: every call that the mTLS mode admits is allowed.</p>}
        {access?.policies.map(({ action, policy, dryRun, words }) => (
          <div key={`${policy.namespace}/${policy.name}`}>
            <h3>
              <span className="pill">{action}</span> <PolicyLink kind="AuthorizationPolicy" policy={policy} /> {dryRun && '(dry run)'}
            </h3>
            <ul>
              {words.map((sentence) => (
                <li key={sentence}>
                  <Prose text={sentence} />
                </li>
              ))}
            </ul>
          </div>
        ))}
      </section>
    </div>
  );
}

