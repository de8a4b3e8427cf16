// Lines over time. What they come to is told in words below the drawing.

import 'uplot/dist/uPlot.min.css';

import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

import { short } from '../graph/text';

export interface ChartLine {
  name: string;
  values: (number | null)[];
  /// CSS variable.
  colour: string;
  dash?: number[];
}

interface Props {
  title: string;
  unit: string;
  times: number[];
  lines: ChartLine[];
}

const HEIGHT = 180;

/// Times of ticks as the rest of the pages writes them; days where the ticks are days, and at midnight.
function moments(_: uPlot, ticks: number[], __: number, ___: number, seconds: number): string[] {
  return ticks.map((tick) => {
    const moment = new Date(tick * 1000);
    const isDay = seconds >= 86_400 || (moment.getHours() === 0 && moment.getMinutes() === 0);
    return isDay ? moment.toLocaleDateString([], { day: 'numeric', month: 'short' }) : moment.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  });
}

/// Where a value stands alone, so that no line shows it.
export function alone(values: (number | null | undefined)[]): number[] {
  const known = (index: number) => typeof values[index] === 'number';
  return values.flatMap((_, index) => (known(index) && !known(index - 1) && !known(index + 1) ? [index] : []));
}

/// What stands under each line: its highest and its last value.
export function summary({ values }: ChartLine, unit: string): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return 'none';
  return `at most ${short(Math.max(...known))}${unit}, last ${short(known.at(-1) ?? 0)}${unit}`;
}

export function Chart({ title, unit, times, lines }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const names = lines.map(({ name }) => name).join();
  const isEmpty = lines.every(({ values }) => values.every((value) => value === null));
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const draw = () => {
      plot.current?.destroy();
      const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 } };
      const series = lines.map(({ name, colour: line, dash }) => ({ label: name, stroke: colour(line), width: 2, points: { filter: (plot: uPlot, index: number) => alone([...(plot.data[index] ?? [])]) }, ...(dash ? { dash } : {}) }));
      const options = { width: element.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { drag: { setScale: false } }, scales: { y: { range: (_: uPlot, __: number | null, most: number | null): uPlot.Range.MinMax => [0, most ? most * 1.1 : 1] } }, axes: [{ ...axis, values: moments }, { ...axis, size: 56, values: (_: uPlot, ticks: number[]) => ticks.map((tick) => String(Number(tick.toPrecision(4)))) }], series: [{}, ...series] };
      plot.current = new uPlot(options, [times, ...lines.map(({ values }) => values)] as uPlot.AlignedData, element);
    };
    draw();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    const themed = new MutationObserver(draw);
    themed.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    return () => {
      resized.disconnect();
      themed.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
    // New numbers are set below; only other lines need another drawing.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [names]);
  useEffect(() => {
    plot.current?.setData([times, ...lines.map(({ values }) => values)] as uPlot.AlignedData);
  }, [times, lines]);
  return (
    <figure className="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} aria-hidden="true" hidden={isEmpty} />
      {isEmpty && <p>No call in this time range.</p>}
      <ul className="legend">
        {lines.map((line) => (
          <li key={line.name}>
            <i className="line" style={{ borderColor: `var(${line.colour})`, borderTopStyle: line.dash ? (line.dash[0] === 2 ? 'dotted' : 'dashed') : 'solid' }} />
            {line.name}: {summary(line, unit)}
          </li>
        ))}
      </ul>
    </figure>
  );
}
