// Changing an object: what `check` says while it is written, which recorded calls it would treat otherwise, and
// applying it.

import { useEffect, useMemo, useState } from 'react';

import { Canvas } from '../graph/Canvas';
import { plural, requestText } from '../graph/text';
import { get, post, words } from '../lib/api';
import { Command, Head, Prose, Trouble } from '../lib/Parts';
import { previewGraph } from '../lib/preview';
import type { Applied, ConfigObject, Flip, Graph, Preview, ReplayedKind } from '../lib/types';
import { Editor } from './Editor';

const QUIET_MS = 500;

interface Props {
  /// None: a new one.
  object: ConfigObject | null;
  template: string;
  /// What somebody else has written into the editor.
  draft?: string | undefined;
  readOnly: boolean;
  onDone: () => void;
}

export function EditObject({ object, template, draft, readOnly, onDone }: Props) {
  const [yaml, setYaml] = useState(draft ?? object?.yaml ?? template);
  const { preview, error, checking } = usePreview(yaml);
  const [applied, setApplied] = useState<Applied | null>(null);
  const [refused, setRefused] = useState('');
  const [busy, setBusy] = useState(false);
  // What a conflict is judged by: the object as it was when the text was made from it.
  const [base, setBase] = useState(object);
  const wrong = preview?.problems.some((problem) => problem.severity === 'error') ?? true;
  const apply = () => {
    setBusy(true);
    setApplied(null);
    const of = base && { kind: base.kind, namespace: base.namespace, name: base.name, yaml: base.yaml };
    post<Applied>('/api/apply', { yaml, ...(of ? { base: of } : {}) })
      .then(
        async (answer) => {
          setApplied(answer);
          setRefused('');
          const { objects } = await get<{ objects: ConfigObject[] }>('/api/config');
          setBase(objects.find((it) => it.kind === of?.kind && it.namespace === of.namespace && it.name === of.name) ?? null);
        },
        (why: unknown) => setRefused(words(why)),
      )
      .catch((why: unknown) => setRefused(words(why)))
      .finally(() => setBusy(false));
  };
  return (
    <section className="yaml edit" aria-label={object ? `Edit ${object.kind} ${object.name}` : 'New object'}>
      <header>
        <h2>{object ? `${object.name}.${object.namespace}` : 'New object'}</h2>
        <button type="button" onClick={onDone}>
          Close
        </button>
      </header>
      <Editor label="YAML" value={yaml} problems={preview?.problems ?? []} onChange={setYaml} />
      {error && <Trouble text={error} />}
      <div className="actions">
        {!readOnly && (
          <button type="button" className="primary" disabled={busy || checking || wrong || yaml === base?.yaml} onClick={apply}>
            {busy ? 'Waiting until it is in force' : 'Apply'}
          </button>
        )}
        <button type="button" disabled={yaml === (base?.yaml ?? template)} onClick={() => setYaml(base?.yaml ?? template)}>
          Undo all
        </button>
        <span aria-live="polite" className="outcome">
          {checking && !error && 'Checking. '}
          {readOnly && 'This console is read-only.'}
          {applied && `In force in ${applied.synced}/${applied.total} sidecars, generation ${applied.generation}.`}
          {applied?.warnings.map((warning) => ` Warning: ${warning}.`)}
        </span>
      </div>
      {refused && <Trouble text={refused} />}
      {preview && !wrong && <Replay preview={preview} checking={checking} />}
      <Command>palisade apply --wait -f FILE</Command>
    </section>
  );
}

/// The engine's answer on a text, a moment after the last key.
function usePreview(yaml: string): { preview: Preview | null; error: string; checking: boolean } {
  const [answered, setAnswered] = useState<{ yaml: string; preview: Preview } | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    let stale = false;
    const timer = setTimeout(() => {
      post<Preview>('/api/preview', { yaml }).then(
        (answer) => {
          if (stale) return;
          setAnswered({ yaml, preview: answer });
          setError('');
        },
        (why: unknown) => {
          if (!stale) setError(words(why));
        },
      );
    }, QUIET_MS);
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [yaml]);
  return { preview: answered?.preview ?? null, error, checking: answered?.yaml !== yaml };
}

function Replay({ preview: { replay }, checking }: { preview: Preview; checking: boolean }) {
  const { kinds, flips, unknown } = replay;
  return (
    <section aria-label="What it would change" aria-busy={checking}>
      <h3>What it would change</h3>
      <p aria-live="polite" className="outcome">
        {kinds === 0 && 'No calls were recorded yet: send some, and see here what a change would do to them.'}
        {kinds > 0 && `Of ${plural(kinds, 'kind')} of recorded calls ${flips.length === 0 ? 'none' : flips.length} would get another answer`}
        {kinds > 0 && (unknown.length > 0 ? `, and of ${unknown.length} it can't be told.` : '.')}
      </p>
      {flips.length > 0 && <Flips flips={flips} />}
      {flips.length > 0 && <Drawing flips={flips} />}
      {unknown.length > 0 && (
        <details>
          <summary>Calls of which it can&apos;t be told</summary>
          <ul>
            {unknown.map((it) => (
              <li key={keyOf(it)}>
                {who(it)} → {it.target?.workload ?? '?'} {requestText(it, it.port)}: {it.why}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

const keyOf = (it: ReplayedKind) => [it.principal, it.address, it.target?.workload, it.port, it.method, it.host, it.path].join(' ');
const who = (it: ReplayedKind) => (it.source ? `${it.source.workload}.${it.source.namespace}` : it.address);

function Flips({ flips }: { flips: Flip[] }) {
  return (
    <div className="scroll">
      <table className="flips">
        <caption className="hidden">Calls that would get another answer</caption>
        <Head of={['Caller', 'Called', 'Request', 'Now', 'Then', 'Why']} />
        <tbody>
          {flips.map((flip) => (
            <tr key={keyOf(flip)}>
              <th scope="row">{who(flip)}</th>
              <td>{flip.target ? `${flip.target.workload}.${flip.target.namespace}` : '?'}</td>
              <td>
                <code>{requestText(flip, flip.port)}</code>
              </td>
              <td>
                <Verdict of={flip.before} />
              </td>
              <td>
                <Verdict of={flip.after} />
              </td>
              <td>
                <Prose text={flip.sentence} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Verdict({ of }: { of: string }) {
  const word = of === 'allow' ? 'allowed' : 'denied';
  return <span className={`pill ${word}`}>{word}</span>;
}

const OPTIONS = ['rate'];
const nothing = () => undefined;

/// The calls of the last half hour, with those that would be other ones.
function Drawing({ flips }: { flips: Flip[] }) {
  const [now, setNow] = useState<Graph | null>(null);
  useEffect(() => {
    let stale = false;
    get<Graph>('/api/graph?type=workload&range=1800').then(
      (graph) => {
        if (!stale) setNow(graph);
      },
      () => undefined,
    );
    return () => {
      stale = true;
    };
  }, []);
  const drawn = useMemo(() => (now ? previewGraph(now, flips) : null), [now, flips]);
  if (!drawn) return null;
  return <Canvas graph={drawn.graph} options={OPTIONS} selected="" found={drawn.changed} onSelect={nothing} />;
}
