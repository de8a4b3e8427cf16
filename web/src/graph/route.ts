// Places on the drawing, and the ways of edges between them.

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  width: number;
  height: number;
}

export interface Layout {
  nodes: Map<string, Box>;
  namespaces: Map<string, Box>;
  /// Middles of the labels of edges.
  labels: Map<string, Point>;
}

export const NODE_HEIGHT = 52;

/// The way of an edge: out of its source, through its label, and into its target; what is blocked ends before it.
export function route(source: Box, via: Point, target: Box, blocked: boolean): { path: string; end: Point } {
  const forward = target.x + target.width / 2 >= source.x + source.width / 2;
  const side = (box: Box, right: boolean): Point => {
    const middle = box.y + box.height / 2;
    const lean = Math.max(-16, Math.min(16, (via.y - middle) / 4));
    return { x: right ? box.x + box.width : box.x, y: middle + lean };
  };
  const gap = (blocked ? 16 : 4) * (forward ? -1 : 1);
  const from = side(source, forward);
  const touch = side(target, !forward);
  const end = { x: touch.x + gap, y: touch.y };
  const half = (a: Point, b: Point) => {
    const reach = (b.x - a.x) / 2;
    return `C ${a.x + reach} ${a.y} ${b.x - reach} ${b.y} ${b.x} ${b.y}`;
  };
  return { path: `M ${from.x} ${from.y} ${half(from, via)} ${half(via, end)}`, end };
}
