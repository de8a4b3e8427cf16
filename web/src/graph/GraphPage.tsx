import { useEffect, useMemo, useState, type ReactNode } from 'react';

import { FindError, OPERANDS, parse, select, type Found } from '../find/find';
import { LIVE_RANGE, useGraph, useLoaded } from '../lib/api';
import { Command, Empty, Source, Trouble } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { Graph, GraphNode, Mesh } from '../lib/types';
import { Canvas } from './Canvas';
import { Difference } from './Difference';
import { EdgeTable } from './EdgeTable';
import { Export } from './Export';
import { BlockedIcon, LockIcon } from './Icons';
import type { Layout } from './route';
import { Menu } from './Menu';
import { Namespaces } from './Namespaces';
import { Replay } from './Replay';
import { SidePanel } from './SidePanel';
import { ago, LABELS, plural, USUAL_LABELS } from './text';

const TYPES = [
  ['versionedApp', 'Versioned app'],
  ['app', 'App'],
  ['workload', 'Workload'],
  ['service', 'Service'],
] as const;

const RANGES = [
  ['60', 'Last minute'],
  ['300', 'Last 5 minutes'],
  ['1800', 'Last 30 minutes'],
  ['3600', 'Last hour'],
  ['21600', 'Last 6 hours'],
  ['86400', 'Last day'],
  ['604800', 'Last week'],
  ['2592000', 'Last 30 days'],
] as const;

interface Expression {
  found: Found | null;
  error: string;
}

function read(text: string): Expression {
  try {
    return { found: parse(text), error: '' };
  } catch (error) {
    if (error instanceof FindError) return { found: null, error: error.message };
    throw error;
  }
}

/// The graph without what an expression hides; an edge goes with its node, and a node with its last edge.
export function hidden(graph: Graph, hide: Found | null): Graph {
  if (!hide) return graph;
  const gone = select(hide, graph.nodes, graph.edges);
  const edges = graph.edges.filter((edge) => !gone.has(edge.id) && !gone.has(edge.source) && !gone.has(edge.target));
  const used = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
  return { ...graph, edges, nodes: graph.nodes.filter((node) => used.has(node.id)) };
}

export function GraphPage() {
  const [type, setType] = useParameter('type', 'versionedApp');
  const [range, setRange] = useParameter('range', '300');
  const [namespaces, setNamespaces] = useParameter('namespaces');
  const [at, setAt] = useParameter('at');
  const [find, setFind] = useParameter('find');
  const [hide, setHide] = useParameter('hide');
  const [selected, setSelected] = useParameter('selected');
  const [motion, setMotion] = useParameter('animation');
  const [places, setPlaces] = useState<Layout | null>(null);
  const [labels, setLabels] = useParameter('labels', USUAL_LABELS);
  const options = useMemo(() => labels.split(',').filter(Boolean), [labels]);
  const [against, setAgainst] = useParameter('against');
  const queryAt = (time: string) => new URLSearchParams({ type, range, ...(namespaces ? { namespaces } : {}), ...(time ? { at: time } : {}) }).toString();
  const { data, error } = useGraph(queryAt(at), at === '' && Number(range) <= LIVE_RANGE);
  const { data: other, error: noOther } = useGraph(against ? queryAt(against) : '', false);

  const hides = useMemo(() => read(hide), [hide]);
  const finds = useMemo(() => read(find), [find]);
  const graph = useMemo(() => (data ? hidden(data, hides.found) : null), [data, hides]);
  const compared = useMemo(() => {
    if (!graph || !other || !against) return null;
    const one = hidden(other, hides.found);
    return one.atMs <= graph.atMs ? { before: one, after: graph } : { before: graph, after: one };
  }, [graph, other, against, hides]);
  const found = useMemo(
    () => (graph && finds.found ? select(finds.found, graph.nodes, graph.edges) : new Set<string>()),
    [graph, finds],
  );
  const nodes = useMemo(() => new Map<string, GraphNode>((graph?.nodes ?? []).map((node) => [node.id, node])), [graph]);
  const { data: mesh } = useLoaded<Mesh>('/api/mesh', 15_000);
  const chosen = namespaces.split(',').filter(Boolean);
  const named = [...(mesh?.namespaces ?? []).map(({ name }) => name), ...(data?.nodes ?? []).map((node) => node.namespace), ...chosen];
  const spaces = [...new Set(named)].filter(Boolean).sort();

  return (
    <>
      <header className="bar">
        <h1>Graph</h1>
        <Namespaces all={spaces} chosen={chosen} onChange={(names) => setNamespaces(names.join(','))} />
        <Choice label="Graph of" value={type} onChange={setType}>
          {TYPES.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </Choice>
        <Choice label="Time range" value={range} onChange={setRange}>
          {RANGES.filter(([value]) => value === range || Number(value) <= (mesh?.maxRange ?? LIVE_RANGE)).map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </Choice>
        <Menu title={`Labels: ${options.length > 3 ? `${options.length} of ${LABELS.length}` : options.join(', ') || 'none'}`}>
          <fieldset>
            <legend className="hidden">Labels</legend>
            {LABELS.map((name) => (
              <label key={name}>
                <input type="checkbox" checked={options.includes(name)} onChange={() => setLabels(LABELS.filter((it) => options.includes(it) !== (it === name)).join())} />
                {name}
              </label>
            ))}
          </fieldset>
        </Menu>
        <label className="check">
          <input type="checkbox" checked={motion === 'on'} onChange={(event) => setMotion(event.target.checked ? 'on' : '')} />
          animation
        </label>
        {graph && <Export graph={graph} places={places} options={options} />}
      </header>
      <div className="bar second">
        <Expressions label="Find" value={find} error={finds.error} onChange={setFind} example="verdict = denied" />
        <Expressions label="Hide" value={hide} error={hides.error} onChange={setHide} example="ns = monitoring" />
        <Replay at={at} since={data?.sinceMs ?? 0} loaded={Number(range) > LIVE_RANGE ? data?.atMs : undefined} onChange={setAt} against={against} onCompare={setAgainst} />
      </div>
      {error && <Trouble text={error} />}
      {error && data && <Age of={data} />}
      {noOther && against && <Trouble text={noOther} />}
      {data?.source && <Source of={data.source} at={data.atMs} />}
      {data && data.lost > 0 && (
        <p className="note">{data.lost} reports or edges did not fit into the history; what is shown is less than what was.</p>
      )}
      {compared && (
        <div className={error ? 'stale' : ''}>
          <Difference {...compared} selected={selected} onSelect={setSelected} />
        </div>
      )}
      {graph && !against && graph.edges.length > 0 && (
        <div className={error ? 'stale' : ''}>
          <div className={`stage${selected ? ' with-panel' : ''}`}>
            <Canvas graph={graph} options={options} selected={selected} found={found} onSelect={setSelected} onLayout={setPlaces} moving={motion === 'on'} />
            <SidePanel graph={graph} selected={selected} onSelect={setSelected} />
          </div>
          <Legend />
          <EdgeTable edges={graph.edges} nodes={nodes} selected={selected} found={found} onSelect={setSelected} />
        </div>
      )}
      {graph && !against && graph.edges.length === 0 && <NoTraffic data={data} hide={hide} namespaces={namespaces} range={range} at={at} />}
      {against && !compared && !noOther && !error && <Empty title="Loading">Asking the mesh for the traffic of both times.</Empty>}
      {!graph && !against && !error && <Empty title="Loading">Asking the mesh for its traffic.</Empty>}
      <Command>{chosen.length > 0 ? `palisade traffic ${chosen.map((name) => `-n ${name}`).join(' ')}` : 'palisade traffic'}</Command>
    </>
  );
}

/// How old a graph is that could not be loaded again.
function Age({ of }: { of: Graph }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p className="note">
      What is shown below is older: the graph as of {new Date(of.atMs).toLocaleTimeString()}, {ago(now - of.atMs)} ago, over {ago(of.rangeMs)}.
    </p>
  );
}

function Choice({ label, value, onChange, children }: { label: string; value: string; onChange: (value: string) => void; children: ReactNode }) {
  return (
    <label className="choice">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {children}
      </select>
    </label>
  );
}

function Expressions({ label, value, error, onChange, example }: { label: string; value: string; error: string; onChange: (value: string) => void; example: string }) {
  const id = `${label.toLowerCase()}-help`;
  return (
    <label className="choice expression">
      <span>{label}</span>
      <input
        type="search"
        value={value}
        placeholder={example}
        list="operands"
        aria-invalid={error !== ''}
        aria-describedby={id}
        onChange={(event) => onChange(event.target.value)}
      />
      <small id={id} className={error ? 'wrong' : 'hidden'}>
        {error || 'Operands with =, !=, <, >, contains, startswith, endswith; AND, OR, NOT and parentheses'}
      </small>
      <datalist id="operands">
        {OPERANDS.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </label>
  );
}

function Legend() {
  return (
    <ul className="legend" aria-label="Legend">
      <li>
        <LockIcon state="mtls" /> mTLS
      </li>
      <li>
        <LockIcon state="partly" /> partly, with %
      </li>
      <li>
        <LockIcon state="plaintext" /> plaintext
      </li>
      <li>
        <LockIcon state="unknown" /> unknown: only the caller has a sidecar
      </li>
      <li>
        <i className="line fine" /> fine
      </li>
      <li>
        <i className="line degraded" /> errors
      </li>
      <li>
        <i className="line failing" /> 10 % errors or more
      </li>
      <li>
        <i className="line denied" />
        <BlockedIcon /> denied by a policy: no error of the workload
      </li>
      <li>
        <i className="line refused" />
        <BlockedIcon /> refused before any policy
      </li>
    </ul>
  );
}

function NoTraffic({ data, hide, namespaces, range, at }: { data: Graph | null; hide: string; namespaces: string; range: string; at: string }) {
  if (data && data.edges.length > 0 && hide) {
    return <Empty title="All of it is hidden">Clear the Hide field to see {plural(data.edges.length, 'edge')}.</Empty>;
  }
  const span = RANGES.find(([value]) => value === range)?.[1].toLowerCase() ?? 'time range';
  return (
    <Empty title={at ? 'No traffic at that time' : `No traffic in the ${span}`}>
      {namespaces ? <p>Nobody called to or from {namespaces}. Choose all namespaces, or a longer time range.</p> : null}
      {!namespaces && (
        <>
          <p>
            {data?.sinceMs ? 'Sidecars report, but nobody called anybody. ' : 'No sidecar has reported a call yet. '}
            Send a request from a pod, and it is here within a second:
          </p>
          <code className="block">palisade exec deploy/CALLER.NAMESPACE -- curl -s http://SERVICE.NAMESPACE/</code>
        </>
      )}
    </Empty>
  );
}
