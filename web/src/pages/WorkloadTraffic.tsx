// Calls to and from one workload, as the graph has them.

import { EdgeTable } from '../graph/EdgeTable';
import { Empty, Link } from '../lib/Parts';
import { navigate } from '../lib/router';
import type { Graph } from '../lib/types';

export function WorkloadTraffic({ graph, namespace, name }: { graph: Graph | null; namespace: string; name: string }) {
  if (!graph) return <Empty title="Loading">Asking the mesh for its traffic.</Empty>;
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const own = new Set(graph.nodes.filter((node) => node.namespace === namespace && (node.workload || node.name) === name).map((node) => node.id));
  const whole = (id: string) => `/graph?type=workload&namespaces=${encodeURIComponent(namespace)}&selected=${encodeURIComponent(id)}`;
  const sides = [
    ['Inbound', graph.edges.filter((edge) => own.has(edge.target))],
    ['Outbound', graph.edges.filter((edge) => own.has(edge.source))],
  ] as const;
  return (
    <>
      {sides.map(([side, edges]) => (
        <section key={side}>
          <h2>{side}, last five minutes</h2>
          {edges.length === 0 ? (
            <p>{side === 'Inbound' ? 'Nobody called it.' : 'It called nobody.'}</p>
          ) : (
            <EdgeTable edges={edges} nodes={nodes} selected="" found={new Set()} onSelect={(id) => navigate(whole(id))} />
          )}
        </section>
      ))}
      <p>
        <Link to={whole([...own][0] ?? '')}>Show it on the graph</Link>
      </p>
    </>
  );
}
