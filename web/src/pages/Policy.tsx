import { useEffect, useMemo, useState, type FormEvent } from 'react';

import { PROPOSE, proposeLink } from '../graph/text';
import { post, useLoaded, words } from '../lib/api';
import { Command, Empty, Link, Prose, Trouble } from '../lib/Parts';
import { navigate, useAddress } from '../lib/router';
import type { Condition, Explanation, Mesh } from '../lib/types';
import { commandOf, formOf, questionOf, type Form } from './question';

export function PolicyPage() {
  const address = useAddress();
  const query = address.searchParams.toString();
  const [form, setForm] = useState(() => formOf(address.searchParams));
  const [answer, setAnswer] = useState<Explanation | null>(null);
  const [error, setError] = useState('');
  const { data } = useLoaded<Mesh>('/api/mesh', 10_000);
  const callers = useMemo(() => {
    const identities = (data?.workloads ?? []).map((it) => it.identity?.replace(/^.*\/ns\/(.+)\/sa\/(.+)$/, '$1/$2'));
    return [...new Set(identities.filter((it) => it !== undefined)), 'none'].sort();
  }, [data]);
  const targets = useMemo(() => {
    const all = (data?.workloads ?? []).flatMap((it) => [it.workload, ...it.services].map((name) => `${name}.${it.namespace}`));
    return [...new Set(all)].sort();
  }, [data]);

  useEffect(() => {
    const asked = formOf(new URLSearchParams(query));
    setForm(asked);
    if (!asked.from || !asked.to) return;
    let stale = false;
    post<Explanation>('/api/explain', questionOf(asked)).then(
      (explained) => {
        if (stale) return;
        setAnswer(explained);
        setError('');
      },
      (why: unknown) => {
        if (stale) return;
        setAnswer(null);
        setError(words(why));
      },
    );
    return () => {
      stale = true;
    };
  }, [query]);

  const ask = (event: FormEvent) => {
    event.preventDefault();
    const filled = Object.entries(form).filter(([, value]) => value !== '');
    navigate(`/policy?${new URLSearchParams(filled as [string, string][]).toString()}`);
  };
  const field = (name: keyof Form) => ({
    value: form[name],
    onChange: (event: { target: { value: string } }) => setForm({ ...form, [name]: event.target.value }),
  });
  return (
    <>
      <header className="bar">
        <h1>Policy tester</h1>
      </header>
      <p className="lead">Ask what would become of a request. The engine that answers is the one that sidecars decide by; nothing is sent.</p>
      <form className="ask" onSubmit={ask}>
        <label>
          <span>Caller</span>
          <input required list="callers" placeholder="NAMESPACE/SERVICE-ACCOUNT, or none for plaintext" {...field('from')} />
        </label>
        <label>
          <span>Workload or service</span>
          <input required list="targets" placeholder="NAME.NAMESPACE" {...field('to')} />
        </label>
        <label className="narrow">
          <span>Method</span>
          <input {...field('method')} />
        </label>
        <label>
          <span>Path</span>
          <input {...field('path')} />
        </label>
        <label>
          <span>Host</span>
          <input placeholder="the service's" {...field('host')} />
        </label>
        <label className="narrow">
          <span>Port</span>
          <input inputMode="numeric" pattern="[0-9]*" placeholder="first" {...field('port')} />
        </label>
        <label className="check">
          <input type="checkbox" checked={form.tcp === 'on'} onChange={(event) => setForm({ ...form, tcp: event.target.checked ? 'on' : '' })} />
          Not HTTP
        </label>
        <details open={Boolean(form.headers || form.claims)}>
          <summary>Headers and claims of a valid token</summary>
          <label>
            <span>Headers, one a line: NAME: VALUE</span>
            <textarea rows={2} {...field('headers')} />
          </label>
          <label>
            <span>Claims, one a line: NAME=VALUE</span>
            <textarea rows={2} {...field('claims')} />
          </label>
        </details>
        <button type="submit" className="primary">
          Explain
        </button>
        <datalist id="callers">
          {callers.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <datalist id="targets">
          {targets.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </form>
      {error && <Trouble text={error} />}
      {answer && <Answer answer={answer} query={query} />}
      {!answer && !error && <Empty title="Nothing asked yet">Name a caller and a workload, then Explain. A denied edge of the graph leads here with its call filled in.</Empty>}
      <Command>{commandOf(form)}</Command>
    </>
  );
}

function Answer({ answer, query }: { answer: Explanation; query: string }) {
  const allowed = answer.verdict.toLowerCase() === 'allow';
  return (
    <section className="answer" aria-live="polite">
      <p className={`big ${allowed ? 'allowed' : 'denied'}`}>
        <b>{allowed ? 'ALLOWED' : 'DENIED'}</b> {answer.status ? `(${answer.status}) ` : ''}
        <Prose text={answer.sentence} />
      </p>
      {!allowed && (
        <p>
          <Link to={proposeLink(query)}>{PROPOSE}</Link>
        </p>
      )}
      <h2>Layers, in order</h2>
      <ol className="layers">
        {answer.layers.map((layer) => (
          <li key={layer.layer} className={layer.said}>
            <b>{layer.layer}</b> <span className="pill">{layer.said === 'passed' ? 'passed on' : layer.said}</span> <Prose text={layer.text} />
          </li>
        ))}
      </ol>
      {answer.policy && (
        <>
          <h2>
            Decided by{' '}
            <Link to={`/istio?object=AuthorizationPolicy/${answer.policy.namespace}/${answer.policy.name}`}>
              {`${answer.policy.name}.${answer.policy.namespace}`}
            </Link>
          </h2>
          <Conditions of={answer.because ?? []} none="The rule has no conditions." />
        </>
      )}
      {answer.nearest && (
        <>
          <h2>
            Nearest is rule {answer.nearest.rule} of{' '}
            <Link to={`/istio?object=AuthorizationPolicy/${answer.nearest.policy.namespace}/${answer.nearest.policy.name}`}>
              {`${answer.nearest.policy.name}.${answer.nearest.policy.namespace}`}
            </Link>
            , of which this fails
          </h2>
          <Conditions of={answer.nearest.failed} none="" />
        </>
      )}
    </section>
  );
}

function Conditions({ of, none }: { of: Condition[]; none: string }) {
  if (of.length === 0) return <p>{none}</p>;
  return (
    <ul>
      {of.map((condition, index) => (
        <li key={index}>
          <code>{condition.field}</code> {clause(condition)}
          {condition.hint && <small className="hint"><Prose text={condition.hint} /></small>}
        </li>
      ))}
    </ul>
  );
}

function clause(condition: Condition): string {
  const wanted = condition.sense === 'oneOf' ? 'one of' : 'none of';
  const got = condition.got.length > 0 ? condition.got.join(', ') : (condition.missing ?? 'nothing');
  return `${condition.attribute} must be ${wanted} ${condition.expected.join(', ')}; the request has ${got}`;
}
