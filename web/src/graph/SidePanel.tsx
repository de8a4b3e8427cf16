// What is known about one edge or node, and what can be done with it.

import { useState } from 'react';

import { post, words } from '../lib/api';
import { Copy, Link, Prose } from '../lib/Parts';
import type { Explanation, Graph, GraphEdge, GraphNode } from '../lib/types';
import { workloadLink } from '../pages/links';
import { LockIcon } from './Icons';
import { asTest, callOf, explainCommand, explainLink, lockText, milliseconds, policyName, PROPOSE, proposeLink, rate, requestText, sentence, short, title } from './text';

interface Props {
  graph: Graph;
  selected: string;
  onSelect: (id: string) => void;
}

export function SidePanel({ graph, selected, onSelect }: Props) {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const edge = graph.edges.find((it) => it.id === selected);
  const node = nodes.get(selected);
  if (!edge && !node) return null;
  return (
    <aside className="panel" aria-label="Details">
      <button type="button" className="close" aria-label="Close details" onClick={() => onSelect('')}>
        ×
      </button>
      {edge && <EdgeDetails key={edge.id} edge={edge} source={nodes.get(edge.source)} target={nodes.get(edge.target)} />}
      {node && <NodeDetails node={node} graph={graph} nodes={nodes} onSelect={onSelect} />}
    </aside>
  );
}

function EdgeDetails({ edge, source, target }: { edge: GraphEdge; source: GraphNode | undefined; target: GraphNode | undefined }) {
  const call = callOf(edge, target);
  const command = explainCommand(call);
  return (
    <>
      <h2>
        {title(source)} → {title(target)}
      </h2>
      <p className={`verdict ${edge.verdict}`}>{sentence(edge, source, target)}</p>
      <p className="security">
        <LockIcon state={edge.lock.state} /> {lockText(edge)}
      </p>
      <Why edge={edge} target={target} />
      <div className="actions">
        <Link to={explainLink(call)}>Explain</Link>
        {edge.verdict !== 'allowed' && <Link to={proposeLink(call)}>{PROPOSE}</Link>}
        <Copy text={asTest(edge, source, target)}>Copy as test</Copy>
        <Copy text={command}>Copy command</Copy>
      </div>
      <details>
        <summary>Show command</summary>
        <code className="block">{command}</code>
      </details>
      {edge.denials.length > 0 && (
        <>
          <h3>Denied by</h3>
          <ul>
            {edge.denials.map((denial) => (
              <li key={policyName(denial) + denial.reason}>
                {denial.policy ? (
                  <Link to={`/istio?object=AuthorizationPolicy/${denial.namespace}/${denial.policy}`}>{policyName(denial)}</Link>
                ) : (
                  policyName(denial)
                )}{' '}
                · {denial.count}×
              </li>
            ))}
          </ul>
        </>
      )}
      {edge.lastDenied.length > 0 && <LastDenied edge={edge} target={target} />}
      {edge.verdict === 'allowed' && <Numbers edge={edge} />}
      <Principals edge={edge} />
    </>
  );
}

/// The explanation of the same engine that decided.
function Why({ edge, target }: { edge: GraphEdge; target: GraphNode | undefined }) {
  const [answer, setAnswer] = useState<string | null>(null);
  const ask = () => {
    post<Explanation>('/api/explain', callOf(edge, target)).then(
      (explained) => setAnswer(explained.sentence),
      (error: unknown) => setAnswer(words(error)),
    );
  };
  const verb = edge.verdict === 'allowed' ? 'allowed' : 'denied';
  return (
    <p className="why" aria-live="polite">
      {answer ? (
        <Prose text={answer} />
      ) : (
        <button type="button" onClick={ask}>
          Why {verb}?
        </button>
      )}
    </p>
  );
}

function LastDenied({ edge, target }: { edge: GraphEdge; target: GraphNode | undefined }) {
  return (
    <>
      <h3>Last denied</h3>
      <ul className="calls">
        {[...edge.lastDenied].reverse().map((record) => (
          <li key={record.requestId || record.time}>
            <time dateTime={record.time}>{new Date(record.time).toLocaleTimeString()}</time>{' '}
            <Link to={explainLink(callOf(edge, target, record))}>
              {requestText(record, record.destination.port)}
            </Link>{' '}
            {record.responseCode > 0 && record.responseCode}
          </li>
        ))}
      </ul>
    </>
  );
}

function Numbers({ edge }: { edge: GraphEdge }) {
  const { traffic } = edge;
  const rows: [string, string][] = [
    ['Requests', `${traffic.count} (${rate(traffic.rate)})`],
    ['Errors', `${short(traffic.errorPercent)} %`],
    ['Status', Object.entries(traffic.codes).map(([code, count]) => `${code === '0' ? 'none' : code}: ${count}`).join(', ') || '–'],
    ['p50 / p95 / p99', [traffic.p50Ms, traffic.p95Ms, traffic.p99Ms].map(milliseconds).join(' / ')],
    ['Throughput', `${short(traffic.bytesPerSecond)} B/s`],
    ['Protocol', edge.protocols.join(', ') || '–'],
    ['Service', edge.services.join(', ') || '–'],
  ];
  return (
    <>
      <h3>Traffic</h3>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {edge.dryRun.length > 0 && (
        <>
          <h3>Dry-run policies would deny</h3>
          <ul>
            {edge.dryRun.map((denial) => (
              <li key={policyName(denial)}>
                {policyName(denial)} · {denial.count}×
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Principals({ edge }: { edge: GraphEdge }) {
  const sides: [string, string[]][] = [
    ['Caller', edge.sourcePrincipals],
    ['Called', edge.destinationPrincipals],
  ];
  return (
    <>
      <h3>Identities</h3>
      {sides.map(([name, principals]) => (
        <p key={name} className="principal">
          <span>{name}</span> <code>{principals.join(' ') || (edge.refusal ? `none, address ${edge.refusal.address}` : 'none')}</code>
        </p>
      ))}
    </>
  );
}

function NodeDetails({ node, graph, nodes, onSelect }: { node: GraphNode; graph: Graph; nodes: Map<string, GraphNode>; onSelect: (id: string) => void }) {
  const lists: [string, GraphEdge[]][] = [
    ['Inbound', graph.edges.filter((edge) => edge.target === node.id)],
    ['Outbound', graph.edges.filter((edge) => edge.source === node.id)],
  ];
  return (
    <>
      <h2>{title(node)}</h2>
      <p>
        {node.kind} {node.namespace && `in namespace ${node.namespace}`}
      </p>
      {node.workload && node.namespace && (
        <p>
          <Link to={workloadLink(node.namespace, node.workload)}>Who may call it, certificate, logs</Link>
        </p>
      )}
      {node.kind === 'service' && <Link to={`/services/${node.namespace}/${node.name}`}>Ports, and what is behind it</Link>}
      {lists.map(([name, edges]) => (
        <section key={name}>
          <h3>{name}</h3>
          {edges.length === 0 && <p>None in this time range.</p>}
          <ul>
            {edges.map((edge) => (
              <li key={edge.id}>
                <button type="button" className="as-link" onClick={() => onSelect(edge.id)}>
                  {sentence(edge, nodes.get(edge.source), nodes.get(edge.target))}
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}
