import { lazy, Suspense, useMemo, useState } from 'react';

import { plural } from '../graph/text';
import { useLoaded } from '../lib/api';
import { Command, Copy, Empty, Link, Prose, Trouble } from '../lib/Parts';
import { useAddress, useParameter } from '../lib/router';
import type { ConfigObject, Mesh, Workload } from '../lib/types';

const Propose = lazy(async () => ({ default: (await import('./Propose')).Propose }));
const EditObject = lazy(async () => ({ default: (await import('./EditObject')).EditObject }));

const TEMPLATE = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: NAME
  namespace: NAMESPACE
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/NAMESPACE/sa/ACCOUNT]
    to:
    - operation:
        methods: [GET]
`;

export function keyOf(object: ConfigObject): string {
  return `${object.kind}/${object.namespace}/${object.name}`;
}

export function ConfigPage() {
  const { data, error, reload } = useLoaded<{ objects: ConfigObject[]; readOnly: boolean }>('/api/config', 3000);
  const [filter, setFilter] = useParameter('filter');
  const [open, setOpen] = useParameter('object');
  const [proposing] = useParameter('propose');
  const { searchParams: call } = useAddress();
  const [editing, setEditing] = useState('');
  const objects = data?.objects ?? [];
  const shown = objects.filter((object) => keyOf(object).toLowerCase().includes(filter.toLowerCase()));
  const object = objects.find((it) => keyOf(it) === open);
  const edited = editing === NEW ? null : objects.find((it) => keyOf(it) === editing);
  const readOnly = data?.readOnly ?? true;
  const done = () => {
    setEditing('');
    reload();
  };
  return (
    <>
      <header className="bar">
        <h1>Istio Config</h1>
        <label className="choice">
          <span>Filter by kind, namespace or name</span>
          <input type="search" value={filter} onChange={(event) => setFilter(event.target.value)} />
        </label>
        {!readOnly && (
          <button type="button" onClick={() => setEditing(NEW)}>
            New policy
          </button>
        )}
      </header>
      {error && <Trouble text={error} />}
      {proposing && data && (
        <Suspense fallback={<Empty title="Loading">Loading the editor.</Empty>}>
          <Propose key={call.toString()} call={call} objects={objects} readOnly={readOnly} />
        </Suspense>
      )}
      {editing !== '' && edited !== undefined && (
        <Suspense fallback={<Empty title="Loading">Loading the editor.</Empty>}>
          <EditObject key={editing} object={edited} template={TEMPLATE} readOnly={readOnly} onDone={done} />
        </Suspense>
      )}
      {data && objects.length === 0 && (
        <Empty title="No policies yet">
          <p>Without any, every call is allowed and plaintext is taken. Close a namespace first, then open what is needed:</p>
          <code className="block">palisade apply --wait -f policies/</code>
        </Empty>
      )}
      {data && objects.length > 0 && shown.length === 0 && <Empty title="Nothing matches">Clear the filter to see {plural(objects.length, 'object')}.</Empty>}
      {shown.length > 0 && (
        <div className={`columns${object && editing !== open ? ' open' : ''}`}>
          <div className="scroll">
            <table>
              <caption className="hidden">Istio&apos;s objects</caption>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">Namespace</th>
                  <th scope="col">Kind</th>
                  <th scope="col">Validation</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((it) => (
                  <tr key={keyOf(it)} className={it === object ? 'selected' : ''}>
                    <th scope="row">
                      <button type="button" aria-pressed={it === object} onClick={() => setOpen(it === object ? '' : keyOf(it))}>
                        {it.name}
                      </button>
                    </th>
                    <td>{it.namespace}</td>
                    <td>{it.kind}</td>
                    <td>
                      <Validation object={it} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {object && editing !== open && <Yaml object={object} readOnly={readOnly} onEdit={() => setEditing(open)} />}
        </div>
      )}
      <EffectiveOrder />
      <Command>palisade check</Command>
    </>
  );
}

const NEW = 'new';

function Validation({ object }: { object: ConfigObject }) {
  const errors = object.problems.filter((it) => it.severity === 'error').length;
  const warnings = object.problems.length - errors;
  const state = errors > 0 ? 'bad' : warnings > 0 ? 'warning' : 'good';
  const text = errors > 0 ? plural(errors, 'error') : warnings > 0 ? plural(warnings, 'warning') : 'valid';
  const sign = { bad: '✕', warning: '!', good: '✓' }[state];
  return (
    <span className={`valid ${state}`} title={object.problems.map((it) => `${it.code} ${it.message}`).join('\n')}>
      <i aria-hidden="true">{sign}</i> {text}
    </span>
  );
}

function Yaml({ object, readOnly, onEdit }: { object: ConfigObject; readOnly: boolean; onEdit: () => void }) {
  const lines = object.yaml.trimEnd().split('\n');
  const marked = new Map(object.problems.map((problem) => [problem.line, problem]));
  return (
    <section className="yaml" aria-label={`${object.kind} ${object.name}`}>
      <header>
        <h2>
          {object.name}.{object.namespace}
        </h2>
        <span className="actions">
          <button type="button" onClick={onEdit}>
            {readOnly ? 'Try a change' : 'Edit'}
          </button>
          <Copy text={object.yaml}>Copy YAML</Copy>
        </span>
      </header>
      {object.problems.map((problem) => (
        <p key={problem.code + problem.line + problem.message} className={`problem ${problem.severity}`}>
          <b>{problem.code}</b> {problem.line > 0 && `line ${problem.line}: `}
          <Prose text={problem.message} />
          {problem.help && (
            <small>
              <Prose text={problem.help} />
            </small>
          )}
        </p>
      ))}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must take the focus */}
      <pre tabIndex={0}>
        {lines.map((line, index) => (
          <span key={index} className={marked.get(index + 1)?.severity ?? ''}>
            <i aria-hidden="true">{index + 1}</i>
            {line}
            {'\n'}
          </span>
        ))}
      </pre>
    </section>
  );
}

/// What decides about calls to a workload, in the order in which it is asked.
function EffectiveOrder() {
  const { data } = useLoaded<Mesh>('/api/mesh', 5000);
  const [chosen, setChosen] = useParameter('workload');
  const workloads = useMemo(() => {
    const all = new Map<string, Workload>();
    for (const workload of data?.workloads ?? []) all.set(`${workload.workload}.${workload.namespace}`, workload);
    return [...all].sort(([one], [other]) => one.localeCompare(other));
  }, [data]);
  if (workloads.length === 0) return null;
  const workload = workloads.find(([name]) => name === chosen)?.[1];
  return (
    <section className="order">
      <h2>Effective order for a workload</h2>
      <label className="choice">
        <span>Workload</span>
        <select value={chosen} onChange={(event) => setChosen(event.target.value)}>
          <option value="">Choose one</option>
          {workloads.map(([name]) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {workload && <Layers workload={workload} />}
      {workload && <Command>{`palisade describe workload ${workload.workload}.${workload.namespace}`}</Command>}
    </section>
  );
}

function Layers({ workload }: { workload: Workload }) {
  if (!workload.sidecar) {
    return (
      <p>
        It has no sidecar: nothing is enforced. Label its namespace <code>istio-injection=enabled</code> and restart it.
      </p>
    );
  }
  const from = workload.mtlsFrom.at(-1);
  const allows = workload.policies.some((it) => it.action === 'ALLOW' && !it.dryRun);
  return (
    <ol className="layers">
      <li>
        <b>mTLS</b> {workload.mtls}
        {workload.portMtls.map(([port, mode]) => `, port ${port}: ${mode}`)}{' '}
        {from ? <Link to={`/istio?object=PeerAuthentication/${from.namespace}/${from.name}`}>{`${from.name}.${from.namespace}`}</Link> : 'by default'}
      </li>
      {(['CUSTOM', 'DENY', 'ALLOW'] as const).map((action) => {
        const policies = workload.policies.filter((it) => it.action === action);
        return (
          <li key={action}>
            <b>{action}</b>{' '}
            {policies.length === 0 && 'no policy'}
            {policies.map(({ policy, dryRun }) => (
              <span key={policy.name} className="policy">
                <Link to={`/istio?object=AuthorizationPolicy/${policy.namespace}/${policy.name}&workload=${workload.workload}.${workload.namespace}`}>
                  {`${policy.name}.${policy.namespace}`}
                </Link>
                {dryRun && ' (dry run)'}
              </span>
            ))}
          </li>
        );
      })}
      <li>
        <b>Otherwise</b> {allows ? 'denied, since there is an ALLOW policy' : 'allowed, since there is no ALLOW policy'}
      </li>
    </ol>
  );
}
