// The calls of a large graph on one canvas: thousands of elements of a document would not move smoothly.

import { useOnViewportChange, useStore, type ReactFlowState } from '@xyflow/react';
import { useEffect, useMemo, useRef } from 'react';

import type { Graph, GraphEdge } from '../lib/types';
import { palette } from './picture';
import { route, type Layout, type Point } from './route';
import { label, type LabelOptions } from './text';

/// From this zoom on, labels are legible.
const LEGIBLE = 0.75;
/// Labels of what is selected that are shown below that.
const MOST_NAMED = 40;

/// The way of a call.
interface Way {
  path: Path2D;
  via: Point;
  end: Point;
  blocked: boolean;
}

type Line = Way & { edge: GraphEdge };

interface Props {
  graph: Graph;
  places: Layout;
  options: LabelOptions;
  selected: string;
  found: Set<string>;
}

/// Ways by the layout that they belong to: the numbers of calls change every second, their ways do not.
const known = new WeakMap<Layout, Map<string, Way>>();

export function linesOf(graph: Graph, places: Layout): Line[] {
  const ways = known.get(places) ?? new Map<string, Way>();
  known.set(places, ways);
  return graph.edges.flatMap((edge) => {
    let way = ways.get(edge.id);
    if (!way) {
      const [from, via, to] = [places.nodes.get(edge.source), places.labels.get(edge.id), places.nodes.get(edge.target)];
      if (!from || !via || !to) return [];
      const blocked = edge.verdict !== 'allowed';
      const { path, end } = route(from, via, to, blocked);
      way = { path: new Path2D(path), via, end, blocked };
      ways.set(edge.id, way);
    }
    return [{ ...way, edge }];
  });
}

/// The call at a point of the drawing.
export function edgeAt(lines: Line[], { x, y }: Point): string {
  const context = document.createElement('canvas').getContext('2d');
  if (!context) return '';
  context.lineWidth = 14;
  return lines.find(({ path }) => context.isPointInStroke(path, x, y))?.edge.id ?? '';
}

const viewOf = (state: ReactFlowState) => state.transform;

export function ManyEdges(props: Props) {
  const { graph, places } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<View>([0, 0, 1]);
  const moving = useRef(false);
  const view = useStore(viewOf);
  const [width, height] = [useStore((state) => state.width), useStore((state) => state.height)];
  const lines = useMemo(() => linesOf(graph, places), [graph, places]);
  const redraw = (at: View) => {
    const element = canvas.current;
    const context = element?.getContext('2d');
    if (!element || !context) return;
    drawn.current = at;
    element.style.transform = '';
    draw(context, lines, at, { width, height }, props);
  };
  useEffect(() => {
    if (!moving.current) redraw(view);
  }, [lines, width, height, props.options, props.selected, props.found]); // eslint-disable-line react-hooks/exhaustive-deps -- moves are below
  useEffect(() => {
    if (!canvas.current || view === drawn.current) return;
    // While it moves, what is drawn is moved along, which costs nothing.
    const [[x, y, zoom], [oldX, oldY, oldZoom]] = [view, drawn.current];
    const scale = zoom / oldZoom;
    canvas.current.style.transform = `translate(${x - oldX * scale}px, ${y - oldY * scale}px) scale(${scale})`;
    if (!moving.current) redraw(view);
  }, [view]); // eslint-disable-line react-hooks/exhaustive-deps -- of all else above
  useOnViewportChange({
    onStart: () => {
      moving.current = true;
    },
    onEnd: ({ x, y, zoom }) => {
      moving.current = false;
      redraw([x, y, zoom]);
    },
  });
  const ratio = pixelRatio();
  return <canvas ref={canvas} className="many-edges" width={width * ratio} height={height * ratio} style={{ width, height }} aria-hidden="true" />;
}

type View = [number, number, number];
const pixelRatio = () => Math.min(2, window.devicePixelRatio);

function draw(context: CanvasRenderingContext2D, lines: Line[], [x, y, zoom]: View, { width, height }: { width: number; height: number }, { options, selected, found }: Props): void {
  const ratio = pixelRatio();
  const colours = palette();
  const colourOf = ({ edge, blocked }: Line) => {
    if (blocked) return colours.denied;
    if (edge.traffic.errorPercent >= 10) return colours.failing;
    return edge.traffic.errors > 0 ? colours.degraded : colours.fine;
  };
  const isMarked = ({ edge }: Line) => edge.id === selected || found.has(edge.id) || edge.source === selected || edge.target === selected;
  const marked = lines.filter(isMarked);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.translate(x, y);
  context.scale(zoom, zoom);
  // What is selected stands out; without a choice all is drawn alike.
  for (const [some, alpha, thick] of [[lines, marked.length > 0 ? 0.25 : 0.8, 1.6], [marked, 1, 3.5]] as const) {
    context.globalAlpha = alpha;
    context.lineWidth = Math.max(thick, 0.8 / zoom);
    for (const line of some) {
      context.strokeStyle = colourOf(line);
      context.setLineDash(line.edge.verdict === 'denied' ? [7, 5] : line.blocked ? [2, 5] : []);
      context.stroke(line.path);
    }
    context.setLineDash([]);
    for (const line of some) drawEnd(context, line, colourOf(line), colours.card);
  }
  context.globalAlpha = 1;
  context.font = '12px system-ui, sans-serif';
  const named = zoom >= LEGIBLE ? (marked.length > 0 ? marked : lines) : marked.slice(0, MOST_NAMED);
  for (const line of named) {
    const [left, top] = [line.via.x * zoom + x, line.via.y * zoom + y];
    if (left < -100 || top < -20 || left > width + 100 || top > height + 20) continue;
    const text = label(line.edge, options)[0] ?? '';
    const wide = context.measureText(text).width + 12;
    context.fillStyle = colours.card;
    context.strokeStyle = colourOf(line);
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(line.via.x - wide / 2, line.via.y - 10, wide, 20, 5);
    context.fill();
    context.stroke();
    context.fillStyle = colours.text;
    context.fillText(text, line.via.x - wide / 2 + 6, line.via.y + 4);
  }
}

/// A tip, or the cap of what was blocked.
function drawEnd(context: CanvasRenderingContext2D, { end, blocked }: Line, colour: string, card: string): void {
  context.beginPath();
  context.arc(end.x, end.y, blocked ? 8 : 4, 0, 7);
  context.fillStyle = blocked ? card : colour;
  context.fill();
  if (!blocked) return;
  context.strokeStyle = colour;
  context.moveTo(end.x - 5, end.y + 5);
  context.lineTo(end.x + 5, end.y - 5);
  context.stroke();
}
