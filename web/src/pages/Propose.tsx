// The smallest policy that allows one call, in the editor; or what would have to change instead.

import { useEffect, useState } from 'react';

import { post, words } from '../lib/api';
import { Command, Empty, Link, Prose, Trouble } from '../lib/Parts';
import { navigate } from '../lib/router';
import type { ConfigObject, Proposed } from '../lib/types';
import { EditObject } from './EditObject';
import { commandOf, formOf, questionOf } from './question';

interface Props {
  /// The call, as the policy tester has it in its address.
  call: URLSearchParams;
  objects: ConfigObject[];
  readOnly: boolean;
}

const TITLES = {
  policy: 'A policy that allows this call and no other',
  passes: 'No policy is needed',
  elsewhere: 'No ALLOW policy would let this pass',
} as const;

export function Propose({ call, objects, readOnly }: Props) {
  const asked = call.toString();
  const form = formOf(call);
  const [proposed, setProposed] = useState<Proposed | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    let stale = false;
    post<Proposed>('/api/propose', questionOf(formOf(new URLSearchParams(asked)))).then(
      (answer) => {
        if (!stale) setProposed(answer);
      },
      (why: unknown) => {
        if (!stale) setError(words(why));
      },
    );
    return () => {
      stale = true;
    };
  }, [asked]);
  if (error) return <Trouble text={error} />;
  if (!proposed) return <Empty title="Loading">Asking the engine for a policy.</Empty>;
  const { outcome, sentence, notes, policy, adds, yaml } = proposed;
  const object = objects.find((it) => it.kind === 'AuthorizationPolicy' && it.namespace === policy?.namespace && it.name === policy.name);
  const tester = new URLSearchParams(asked);
  tester.delete('propose');
  return (
    <section className="propose" aria-label="Proposed policy">
      <h2>{TITLES[outcome]}</h2>
      <p className={`big ${outcome === 'elsewhere' ? 'denied' : 'allowed'}`}>
        {outcome === 'policy' && 'Proved by the engine: with it, '}
        <Prose text={sentence} />.
      </p>
      {adds && (
        <p>
          Added to the policy that nearly matched: <code>{adds}</code>
        </p>
      )}
      {notes.map((note) => (
        <p key={note} className="note">
          <Prose text={note} />
        </p>
      ))}
      <p>
        <Link to={`/policy?${tester.toString()}`}>Explain this call, layer by layer</Link>
      </p>
      {yaml !== undefined && (
        <EditObject object={(adds && object) || null} template={yaml} draft={yaml} readOnly={readOnly} onDone={() => navigate('/istio')} />
      )}
      <Command>{`${commandOf(form)} --propose`}</Command>
    </section>
  );
}
