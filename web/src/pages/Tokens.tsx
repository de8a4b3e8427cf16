// Tokens of end users (JWT): whose are accepted, by which keys, and what was refused.

import { useMemo, useState } from 'react';

import { ago } from '../graph/text';
import { useLoaded } from '../lib/api';
import { Command, Empty, Head, Prose, Trouble } from '../lib/Parts';
import { refusals } from '../lib/refusals';
import { useParameter } from '../lib/router';
import { decode, faults, moment } from '../lib/token';
import type { Graph, TokenIssuer } from '../lib/types';
import { PolicyLink } from './Workload';

const RANGES = { 300: 'Last 5 minutes', 3600: 'Last hour', 21600: 'Last 6 hours' } as const;

export function TokensPage() {
  const { data, error } = useLoaded<{ nowMs: number; issuers: TokenIssuer[] }>('/api/issuers', 5000);
  return (
    <>
      <header className="bar">
        <h1>Tokens</h1>
      </header>
      <p className="lead">Tokens of end users (JWT) are verified by sidecars before DENY and ALLOW policies are asked. A request without one passes this step, and has no request principal.</p>
      {error && <Trouble text={error} />}
      {!data && !error && <Empty title="Loading">Asking the mesh.</Empty>}
      {data && data.issuers.length === 0 && (
        <Empty title="Nobody looks at tokens">
          <p>A RequestAuthentication says whose tokens count, for which workloads. Apply one:</p>
          <code className="block">palisade apply --wait -f request-authentication.yaml</code>
        </Empty>
      )}
      {data && data.issuers.length > 0 && <Issuers issuers={data.issuers} nowMs={data.nowMs} />}
      <Command>palisade issuers</Command>
      {data && data.issuers.length > 0 && <Refused issuers={data.issuers} />}
      <Decoder issuers={data?.issuers ?? []} />
      <Command>palisade explain --from CALLER --to WORKLOAD --jwt TOKEN</Command>
    </>
  );
}

const STATES = {
  inline: ['good', '✓ written in the rule'],
  fetched: ['good', '✓ fetched'],
  stale: ['warning', '! can not be fetched again: those before stay in use for seven days'],
  missing: ['bad', '✕ none: every token of the rule is refused'],
  awaited: ['warning', '! not asked for yet'],
  unknown: ['warning', '! not known: the control plane does not tell'],
} as const;

function Issuers({ issuers, nowMs }: { issuers: TokenIssuer[]; nowMs: number }) {
  return (
    <div className="scroll">
      <table className="issuers">
        <caption className="hidden">Issuers, the workloads that accept their tokens, and their keys</caption>
        <Head of={['Issuer', 'RequestAuthentication', 'Workloads', 'Audiences', 'Keys', 'Age', 'Key names']} />
        <tbody>
          {issuers.map((it, index) => (
            <tr key={index}>
              <th scope="row">{it.issuer}</th>
              <td>
                <PolicyLink kind="RequestAuthentication" policy={it.policy} />
              </td>
              <td>{it.workloads.join(', ') || 'none with a sidecar'}</td>
              <td>{it.audiences.join(', ') || 'any'}</td>
              <td>
                <span className={`valid ${STATES[it.keys.state][0]}`}>{STATES[it.keys.state][1]}</span>
                {it.keys.at && <small> {it.keys.at}</small>}
                {it.keys.error && (
                  <small>
                    {' '}
                    <Prose text={it.keys.error} />
                  </small>
                )}
              </td>
              <td>{it.keys.fetchedAt ? `${ago(nowMs - Date.parse(it.keys.fetchedAt))}` : '–'}</td>
              <td>
                <code>{it.keys.keys?.map((key) => [key.kid ?? 'unnamed', key.alg ?? key.kty].filter(Boolean).join(' ')).join(', ') || '–'}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/// Answers 401 and 403 of the workloads that look at tokens.
function Refused({ issuers }: { issuers: TokenIssuer[] }) {
  const [range, setRange] = useParameter('range', '3600');
  const { data, error } = useLoaded<Graph>(`/api/graph?type=workload&range=${encodeURIComponent(range)}`, 5000);
  const rows = useMemo(() => (data ? refusals(data, new Set(issuers.flatMap(({ workloads }) => workloads))) : []), [data, issuers]);
  const most = Math.max(1, ...rows.map(({ count }) => count));
  return (
    <section aria-label="Refused requests">
      <h2>401 and 403, by reason</h2>
      <div className="bar second">
        <label className="choice">
          <span>Time range</span>
          <select value={range} onChange={(event) => setRange(event.target.value)}>
            {Object.entries(RANGES).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      {error && <Trouble text={error} />}
      {data && rows.length === 0 && <Empty title="Nothing was refused">No request to a workload that looks at tokens was answered 401 or 403 in this time range.</Empty>}
      {rows.length > 0 && (
        <div className="scroll">
          <table className="refusals">
            <caption className="hidden">Refused requests to workloads that look at tokens</caption>
            <Head of={['Workload', 'Code', 'Reason', 'Requests', 'Share of the most frequent']} />
            <tbody>
              {rows.map(({ workload, code, reason, count }) => (
                <tr key={workload + code + reason}>
                  <th scope="row">{workload}</th>
                  <td className="number">{code}</td>
                  <td>{reason}</td>
                  <td className="number">{count}</td>
                  <td>
                    <progress max={most} value={count} aria-label={`${count} of ${most}`} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p className="note quiet">Why a token was refused stands in the answer, and in the access log of the workload (<code>jwt_authn_access_denied</code>); it is not counted by reason.</p>
    </section>
  );
}

/// What is in a token. It stays in this field.
function Decoder({ issuers }: { issuers: TokenIssuer[] }) {
  const [text, setText] = useState('');
  const decoded = text.trim() === '' ? null : decode(text);
  return (
    <section aria-label="Decode a token">
      <h2>Decode a token</h2>
      <label className="choice">
        <span>Token. It is decoded on this page: it is not sent to anybody, and not kept.</span>
        <textarea rows={4} value={text} autoComplete="off" spellCheck={false} placeholder="eyJhbGciOi…" onChange={(event) => setText(event.target.value)} />
      </label>
      {typeof decoded === 'string' && <Trouble text={decoded} />}
      {decoded !== null && typeof decoded === 'object' && <Parts decoded={decoded} issuers={issuers} />}
    </section>
  );
}

function Parts({ decoded, issuers }: { decoded: Exclude<ReturnType<typeof decode>, string>; issuers: TokenIssuer[] }) {
  const said = faults(decoded, issuers, Date.now() / 1000);
  const times = (['iat', 'nbf', 'exp'] as const).flatMap((name) => (typeof decoded.claims[name] === 'number' ? [`${name} is ${moment(decoded.claims[name])}`] : []));
  return (
    <>
      {said.map((fault) => (
        <p key={fault} className="problem error">
          <Prose text={fault} />
        </p>
      ))}
      {said.length === 0 && <p className="outcome">Issuer, times and audience are in order. Whether the signature is, this page does not look at: sidecars do.</p>}
      {times.length > 0 && <p>{times.join('; ')}.</p>}
      {[decoded.header, decoded.claims].map((members, index) => (
        <div key={index}>
          <h3>{index === 0 ? 'Header' : 'Claims'}</h3>
          <code className="block lines">{JSON.stringify(members, null, 2)}</code>
        </div>
      ))}
    </>
  );
}
