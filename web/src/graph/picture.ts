// The graph as a picture: an SVG with all that it needs in it, and a PNG drawn from that.

import type { Graph } from '../lib/types';
import { NODE_HEIGHT, route, type Layout } from './route';
import { label, lockText, title, type LabelOptions } from './text';

export interface Palette {
  page: string;
  card: string;
  line: string;
  text: string;
  faint: string;
  accent: string;
  fine: string;
  degraded: string;
  failing: string;
  denied: string;
}

const FONT = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\"";
const MARGIN = 24;

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

export function svg(graph: Graph, places: Layout, options: LabelOptions, palette: Palette): string {
  const boxes = [...places.namespaces.values(), ...places.nodes.values()];
  const [left, top] = [Math.min(0, ...boxes.map((box) => box.x)) - MARGIN, Math.min(0, ...boxes.map((box) => box.y)) - MARGIN];
  const right = Math.max(100, ...boxes.map((box) => box.x + box.width)) + MARGIN;
  const bottom = Math.max(60, ...boxes.map((box) => box.y + box.height)) + MARGIN;
  const [width, height] = [Math.ceil(right - left), Math.ceil(bottom - top)];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${left} ${top} ${width} ${height}" width="${width}" height="${height}" ${FONT} font-size="12">`,
    `<title>${escaped(`Calls as of ${new Date(graph.atMs).toISOString()}`)}</title>`,
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="${palette.page}"/>`,
    ...[...places.namespaces].map(
      ([name, box]) =>
        `<rect x="${box.x}" y="${box.y}" width="${box.width}" height="${box.height}" rx="10" fill="none" stroke="${palette.line}" stroke-dasharray="5 4"/>` +
        `<text x="${box.x + 12}" y="${box.y + 22}" fill="${palette.faint}">${escaped(name)}</text>`,
    ),
    ...edges(graph, places, options, palette),
    ...graph.nodes.flatMap((node) => {
      const box = places.nodes.get(node.id);
      if (!box) return [];
      return [
        `<rect x="${box.x}" y="${box.y}" width="${box.width}" height="${NODE_HEIGHT}" rx="10" fill="${palette.card}" stroke="${palette.accent}" stroke-width="2"/>` +
          `<text x="${box.x + box.width / 2}" y="${box.y + NODE_HEIGHT / 2 + 4}" text-anchor="middle" font-weight="600" fill="${palette.text}">${escaped(title(node))}</text>`,
      ];
    }),
    '</svg>',
  ].join('\n');
}

function edges(graph: Graph, places: Layout, options: LabelOptions, palette: Palette): string[] {
  return graph.edges.flatMap((edge) => {
    const [from, via, to] = [places.nodes.get(edge.source), places.labels.get(edge.id), places.nodes.get(edge.target)];
    if (!from || !via || !to) return [];
    const blocked = edge.verdict !== 'allowed';
    const { path, end } = route(from, via, to, blocked);
    const failing = edge.traffic.errorPercent >= 10 ? palette.failing : edge.traffic.errors > 0 ? palette.degraded : palette.fine;
    const colour = blocked ? palette.denied : failing;
    const dash = edge.verdict === 'denied' ? ' stroke-dasharray="7 5"' : edge.verdict === 'refused' ? ' stroke-dasharray="2 5"' : '';
    const lines = [...(blocked ? [] : [lockText(edge)]), ...label(edge, options)];
    const width = 16 + Math.max(...lines.map((line) => line.length)) * 7;
    const [x, y, height] = [via.x - width / 2, via.y - 4 - lines.length * 8, lines.length * 16 + 8];
    const tip = blocked
      ? `<circle cx="${end.x}" cy="${end.y}" r="9" fill="${palette.card}" stroke="${colour}" stroke-width="2.5"/><path d="M${end.x - 5.5} ${end.y + 5.5}l11 -11" stroke="${colour}" stroke-width="2.5"/>`
      : `<circle cx="${end.x}" cy="${end.y}" r="4" fill="${colour}"/>`;
    return [
      `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2.5"${dash}/>${tip}` +
        `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="${palette.card}" stroke="${colour}"/>` +
        lines.map((line, index) => `<text x="${via.x}" y="${y + 16 + index * 16}" text-anchor="middle" fill="${palette.text}">${escaped(line)}</text>`).join(''),
    ];
  });
}

export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    page: of('page'),
    card: of('card'),
    line: of('line'),
    text: of('text'),
    faint: of('faint'),
    accent: of('accent'),
    fine: of('fine'),
    degraded: of('degraded'),
    failing: of('failing'),
    denied: of('denied'),
  };
}

/// Draws a picture at twice its size.
export async function png(picture: string): Promise<Blob> {
  const url = URL.createObjectURL(new Blob([picture], { type: 'image/svg+xml' }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width * 2, image.height * 2];
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large'))));
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}

export function download(name: string, blob: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
