// Single calls, live.

import { useEffect, useMemo, useRef, useState } from 'react';

import { caller, explainLink, PROPOSE, proposeLink, quoted, reasonText, requestText, type CallOf } from '../graph/text';
import { Command, Empty, Head, Link } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { CallView, Party } from '../lib/types';

/// Calls that the page keeps, and of these shows.
const KEPT = 2000;
const SHOWN = 200;

export interface Filters {
  namespace: string;
  workload: string;
  verdict: string;
  code: string;
  path: string;
}

const VERDICTS = { allow: 'allowed', deny: 'denied', refuse: 'refused' } as const;

export function verdictOf({ call }: CallView): string {
  return VERDICTS[call.verdict as keyof typeof VERDICTS] ?? call.verdict;
}

/// Whether a call is wanted: on either side for places, at the beginning for codes (`5` is all of 5xx).
export function matches(view: CallView, filters: Filters): boolean {
  const sides = [view.source, view.target].filter((side) => side !== null);
  const holds = (wanted: string, of: (side: Party) => string) => wanted === '' || sides.some((side) => of(side).includes(wanted));
  return (
    holds(filters.namespace, (side) => side.namespace) &&
    holds(filters.workload, (side) => side.workload) &&
    (filters.verdict === '' || verdictOf(view) === filters.verdict) &&
    (filters.code === '' || (view.call.responseCode > 0 && String(view.call.responseCode).startsWith(filters.code.replace(/x+$/i, '')))) &&
    (filters.path === '' || view.call.path.includes(filters.path))
  );
}

export function TrafficPage() {
  const [namespace, setNamespace] = useParameter('namespace');
  const [workload, setWorkload] = useParameter('workload');
  const [verdict, setVerdict] = useParameter('verdict');
  const [code, setCode] = useParameter('code');
  const [path, setPath] = useParameter('path');
  const [paused, setPaused] = useState(false);
  const { calls, waiting, connected } = useCalls(paused);
  const shown = useMemo(() => calls.filter((call) => matches(call, { namespace, workload, verdict, code, path })), [calls, namespace, workload, verdict, code, path]);
  const fields = [
    ['Namespace', namespace, setNamespace],
    ['Workload', workload, setWorkload],
    ['Code', code, setCode],
    ['Path', path, setPath],
  ] as const;
  return (
    <>
      <header className="bar">
        <h1>Traffic</h1>
        {fields.map(([label, value, set]) => (
          <label key={label} className="choice">
            <span>{label}</span>
            <input type="search" value={value} placeholder={label === 'Code' ? '403 or 4xx' : ''} onChange={(event) => set(event.target.value)} />
          </label>
        ))}
        <label className="choice">
          <span>Verdict</span>
          <select value={verdict} onChange={(event) => setVerdict(event.target.value)}>
            <option value="">All</option>
            {Object.values(VERDICTS).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? `Go on (${waiting} new)` : 'Pause'}
        </button>
      </header>
      {!connected && <p className="note">Connecting to the console.</p>}
      {calls.length === 0 && (
        <Empty title="No calls yet">
          <p>Send a request from a pod, and it is here within a second or two:</p>
          <code className="block">palisade exec deploy/CALLER.NAMESPACE -- curl -s http://SERVICE.NAMESPACE/</code>
        </Empty>
      )}
      {calls.length > 0 && shown.length === 0 && <Empty title="Nothing matches">None of the last {calls.length} calls is like that. Clear a filter.</Empty>}
      {shown.length > 0 && <Calls calls={shown.slice(0, SHOWN)} />}
      <p className="note quiet">
        {shown.length > SHOWN && `The newest ${SHOWN} of ${shown.length} are shown. `}
        Every kind of denied and refused call is here; of allowed ones each sidecar tells examples, at most 64 a second. The graph counts them all.
      </p>
      <Command>{['palisade traffic', ...(namespace ? [`-n ${quoted(namespace)}`] : []), ...(verdict === 'denied' || verdict === 'refused' ? ['--refused'] : [])].join(' ')}</Command>
    </>
  );
}

/// The last calls, newest first. While it is paused they wait.
function useCalls(paused: boolean): { calls: CallView[]; waiting: number; connected: boolean } {
  const [calls, setCalls] = useState<CallView[]>([]);
  const [waiting, setWaiting] = useState(0);
  const [connected, setConnected] = useState(false);
  const held = useRef<CallView[]>([]);
  const stopped = useRef(paused);
  useEffect(() => {
    stopped.current = paused;
    if (paused) return;
    setCalls((old) => [...held.current, ...old].slice(0, KEPT));
    held.current = [];
    setWaiting(0);
  }, [paused]);
  useEffect(() => {
    const events = new EventSource('/api/calls');
    let last = 0;
    events.addEventListener('calls', (event: MessageEvent<string>) => {
      // After a new connection the kept calls come again.
      const fresh = (JSON.parse(event.data) as CallView[]).filter((call) => call.number > last).reverse();
      last = Math.max(last, ...fresh.map((call) => call.number));
      setConnected(true);
      if (stopped.current) {
        held.current = [...fresh, ...held.current].slice(0, KEPT);
        setWaiting(held.current.length);
      } else if (fresh.length > 0) setCalls((old) => [...fresh, ...old].slice(0, KEPT));
    });
    events.onerror = () => setConnected(false);
    return () => events.close();
  }, []);
  return { calls, waiting, connected };
}

const name = (side: Party | null, otherwise: string) => (side ? `${side.workload}.${side.namespace}` : otherwise);

function Calls({ calls }: { calls: CallView[] }) {
  return (
    <div className="scroll">
      <table className="calls-table">
        <caption className="hidden">The last calls, newest first</caption>
        <Head of={['Time', 'Caller', 'Called', 'Request', 'Verdict', 'Code', 'Policy or reason', 'Why']} />
        <tbody>
          {calls.map((view) => (
            <Row key={view.number} view={view} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function askedOf({ call, target, pod }: CallView): CallOf {
  return {
    from: caller(call.source.principal),
    to: name(target, `${pod.pod}.${pod.namespace}`),
    method: call.method || 'GET',
    path: call.path || '/',
    host: call.host || undefined,
    port: call.destination.port,
    tcp: !call.method,
  };
}

function Row({ view }: { view: CallView }) {
  const { call, source, target, pod } = view;
  const verdict = verdictOf(view);
  return (
    <tr className={verdict}>
      <td className="number">
        <time dateTime={call.time}>{new Date(call.time).toLocaleTimeString()}</time>
      </td>
      <td title={call.source.principal ?? 'no identity'}>{name(source, call.source.address)}</td>
      <td>{name(target, `${pod.pod}.${pod.namespace}`)}</td>
      <td>
        <code>{requestText(call, call.destination.port)}</code>
      </td>
      <td>
        <span className={`pill ${verdict}`}>{verdict}</span>
      </td>
      <td className="number">{call.responseCode || '–'}</td>
      <td>{ruleOf(call.policy) ?? reasonText(call.reason)}</td>
      <td>
        <Link to={explainLink(askedOf(view))}>Explain</Link>
        {verdict !== 'allowed' && (
          <>
            {' · '}
            <Link to={proposeLink(askedOf(view))}>{PROPOSE}</Link>
          </>
        )}
      </td>
    </tr>
  );
}

/// `ns[shop]-policy[closed]-rule[0]` as people say it.
export function ruleOf(policy: string | null): string | null {
  const match = /^ns\[(.+)\]-policy\[(.+)\]-rule\[(\d+)\]$/.exec(policy ?? '');
  return match ? `${match[2]}.${match[1]} rule ${match[3]}` : policy;
}
