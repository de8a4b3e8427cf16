// The drawing. Everything on it is also in the table below it, which is where keyboards and screen readers go.

import '@xyflow/react/dist/base.css';

import {
  BaseEdge,
  Controls,
  EdgeLabelRenderer,
  Handle,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  useStore,
  type Edge,
  type EdgeProps,
  type Node,
  type NodeProps,
} from '@xyflow/react';
import { memo, useEffect, useMemo, useRef, useState } from 'react';

import type { Graph, GraphEdge, GraphNode } from '../lib/types';
import { BlockedIcon, LockIcon } from './Icons';
import { LARGE, layout, shape } from './layout';
import { edgeAt, linesOf, ManyEdges } from './ManyEdges';
import { route, type Layout, type Point } from './route';
import { label, lockText, sentence, title, type LabelOptions } from './text';

export interface CanvasProps {
  graph: Graph;
  options: LabelOptions;
  selected: string;
  found: Set<string>;
  onSelect: (id: string) => void;
  onLayout?: (places: Layout) => void;
  /// Whether dots run along the calls.
  moving?: boolean;
}

interface NodeData extends Record<string, unknown> {
  node: GraphNode;
  blocked: number;
  found: boolean;
  /// Whether edges end at it as elements of the page, and not on the one canvas of a large graph.
  ends: boolean;
}

interface EdgeData extends Record<string, unknown> {
  edge: GraphEdge;
  lines: string[];
  text: string;
  path: string;
  via: Point;
  end: Point;
  found: boolean;
  moving: boolean;
  onSelect: (id: string) => void;
}

const KIND: Record<GraphNode['kind'], [string, string]> = {
  app: ['A', 'app'],
  workload: ['W', 'workload'],
  service: ['S', 'service'],
  address: ['IP', 'address, no sidecar'],
  unknown: ['?', 'unknown caller'],
};

const GraphNodeView = memo(function GraphNodeView({ data, selected }: NodeProps<Node<NodeData>>) {
  const { node, blocked, found, ends } = data;
  const [badge, kind] = KIND[node.kind];
  return (
    <div className={`node kind-${node.kind}${selected ? ' selected' : ''}${found ? ' found' : ''}`} title={`${kind} ${title(node)}`}>
      {ends && <Handle type="target" position={Position.Left} isConnectable={false} />}
      <span className="badge">{badge}</span>
      <span className="name">
        {node.name}
        {node.version && <small>{node.version}</small>}
      </span>
      {blocked > 0 && (
        <span className="chip">
          <BlockedIcon />
          {blocked} blocked
        </span>
      )}
      {ends && <Handle type="source" position={Position.Right} isConnectable={false} />}
    </div>
  );
});

const NamespaceBox = memo(function NamespaceBox({ data }: NodeProps<Node<{ name: string }>>) {
  return (
    <div className="namespace">
      <span>
        <b>NS</b> {data.name}
      </span>
    </div>
  );
});

/// A call. What was blocked ends in a cap before its target.
const CallEdge = memo(function CallEdge({ data, selected }: EdgeProps<Edge<EdgeData>>) {
  if (!data) return null;
  const { edge, lines, text, path, via, end, found, moving } = data;
  const blocked = edge.verdict !== 'allowed';
  const failing = edge.traffic.errorPercent >= 10 ? 'failing' : edge.traffic.errors > 0 ? 'degraded' : 'fine';
  const names = `call ${edge.verdict} ${failing}${selected ? ' selected' : ''}${found ? ' found' : ''}`;
  return (
    <g className={names}>
      <title>{text}</title>
      <BaseEdge path={path} interactionWidth={18} {...(blocked ? {} : { markerEnd: `url(#arrow-${failing})` })} />
      {moving && edge.traffic.count > 0 && <path className="dots" d={path} style={{ animationDuration: `${pace(edge.traffic.rate)}s` }} />}
      {blocked && (
        <g className="cap" transform={`translate(${end.x}, ${end.y})`}>
          <circle r="9" />
          <path d="M-5.5 5.5 5.5-5.5" />
        </g>
      )}
      <EdgeLabelRenderer>
        <div className={`tag ${names}`} style={{ transform: `translate(-50%, -50%) translate(${via.x}px, ${via.y}px)` }} title={text}>
          <button type="button" tabIndex={-1} onClick={() => data.onSelect(edge.id)}>
            {blocked ? <BlockedIcon /> : null}
            <LockIcon state={edge.lock.state} />
            <span>
              {edge.verdict === 'allowed' && edge.lock.state !== 'mtls' && <em>{lockText(edge)}</em>}
              {lines.map((line) => (
                <span key={line}>{line}</span>
              ))}
            </span>
          </button>
        </div>
      </EdgeLabelRenderer>
    </g>
  );
});

/// Seconds that a dot takes for its step: the busier, the faster.
function pace(rate: number): number {
  return Number((2 / Math.sqrt(Math.max(0.25, Math.min(100, rate)))).toFixed(2));
}

const FIT = { padding: 0.08, maxZoom: 1.15 };
const NODE_TYPES = { call: GraphNodeView, namespace: NamespaceBox };
const EDGE_TYPES = { call: CallEdge };

function isSame(one: Node<NodeData>, other: Node<NodeData>): boolean {
  return (
    one.data.node === other.data.node &&
    one.data.blocked === other.data.blocked &&
    one.data.found === other.data.found &&
    one.data.ends === other.data.ends &&
    one.selected === other.selected &&
    one.position.x === other.position.x &&
    one.position.y === other.position.y &&
    one.width === other.width
  );
}

/// Nodes as they were drawn: one that is still the same stays the same object, and is not drawn again.
type Drawn = Map<string, Node<NodeData>>;

function flowNodes({ graph, selected, found }: CanvasProps, places: Layout, drawn: Drawn): Node[] {
  const blocked = new Map<string, number>();
  for (const edge of graph.edges) {
    if (edge.verdict === 'allowed') continue;
    blocked.set(edge.target, (blocked.get(edge.target) ?? 0) + edge.traffic.count);
  }
  const boxes: Node[] = [...places.namespaces].map(([name, box]) => ({
    id: `namespace ${name}`,
    type: 'namespace',
    position: { x: box.x, y: box.y },
    width: box.width,
    height: box.height,
    data: { name },
    selectable: false,
    zIndex: -1,
  }));
  const nodes: Node[] = graph.nodes.flatMap((node) => {
    const box = places.nodes.get(node.id);
    if (!box) return [];
    const data: NodeData = { node, blocked: blocked.get(node.id) ?? 0, found: found.has(node.id), ends: graph.edges.length <= LARGE };
    const { x, y, width, height } = box;
    const fresh = { id: node.id, type: 'call', position: { x, y }, width, height, data, selected: selected === node.id };
    const old = drawn.get(node.id);
    if (old && isSame(old, fresh)) return [old];
    drawn.set(node.id, fresh);
    return [fresh];
  });
  return [...boxes, ...nodes];
}

function flowEdges({ graph, options, selected, found, onSelect, moving = false }: CanvasProps, places: Layout): Edge<EdgeData>[] {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  return graph.edges.flatMap((edge) => {
    const [from, via, to] = [places.nodes.get(edge.source), places.labels.get(edge.id), places.nodes.get(edge.target)];
    if (!from || !via || !to) return [];
    const { id, source, target } = edge;
    const data: EdgeData = {
      ...route(from, via, to, edge.verdict !== 'allowed'),
      via,
      edge,
      lines: label(edge, options),
      text: sentence(edge, byId.get(source), byId.get(target)),
      found: found.has(id),
      moving,
      onSelect,
    };
    return [{ id, type: 'call', source, target, data, selected: selected === id }];
  });
}

function Arrows() {
  return (
    <svg className="defs" aria-hidden="true">
      <defs>
        {['fine', 'degraded', 'failing'].map((name) => (
          <marker key={name} id={`arrow-${name}`} className={name} viewBox="0 0 10 10" refX="7" refY="5" markerWidth="5" markerHeight="5" orient="auto-start-reverse">
            <path d="M0 0 10 5 0 10z" />
          </marker>
        ))}
      </defs>
    </svg>
  );
}

function Flow(props: CanvasProps) {
  const { graph, options, onSelect, onLayout } = props;
  const [places, setPlaces] = useState<Layout | null>(null);
  const drawn = useRef<Drawn>(new Map());
  const { fitView, screenToFlowPosition } = useReactFlow();
  const form = shape(graph.nodes, graph.edges, options);
  useEffect(() => {
    let stale = false;
    layout(graph.nodes, graph.edges, options).then(
      (found) => {
        if (stale) return;
        drawn.current.clear();
        setPlaces(found);
        onLayout?.(found);
        requestAnimationFrame(() => void fitView(FIT));
      },
      (error: unknown) => console.error('layout', error),
    );
    return () => {
      stale = true;
    };
    // The numbers on edges change every second; the places depend on the form alone.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [form, fitView]);
  const width = useStore((state) => state.width);
  useEffect(() => {
    if (width > 0) void fitView(FIT);
  }, [width, fitView]);
  const nodes = useMemo(() => (places ? flowNodes(props, places, drawn.current) : []), [props, places]);
  const large = graph.edges.length > LARGE;
  const edges = useMemo(() => (places && !large ? flowEdges(props, places) : []), [props, places, large]);
  return (
    <ReactFlow
      nodes={nodes}
      edges={edges}
      nodeTypes={NODE_TYPES}
      edgeTypes={EDGE_TYPES}
      nodesDraggable={false}
      nodesConnectable={false}
      nodesFocusable={false}
      edgesFocusable={false}
      minZoom={0.05}
      maxZoom={2}
      onlyRenderVisibleElements={large}
      proOptions={{ hideAttribution: false }}
      onNodeClick={(_, node) => node.type === 'call' && onSelect(node.id)}
      onEdgeClick={(_, edge) => onSelect(edge.id)}
      onPaneClick={(event) => onSelect(large && places ? edgeAt(linesOf(graph, places), screenToFlowPosition({ x: event.clientX, y: event.clientY })) : '')}
    >
      {large && places && <ManyEdges graph={graph} places={places} options={props.options} selected={props.selected} found={props.found} />}
      <Controls showInteractive={false} />
    </ReactFlow>
  );
}

export function Canvas(props: CanvasProps) {
  return (
    <div className={`canvas${props.graph.edges.length > LARGE ? ' large' : ''}`} data-testid="canvas">
      <Arrows />
      <ReactFlowProvider>
        <Flow {...props} />
      </ReactFlowProvider>
    </div>
  );
}
