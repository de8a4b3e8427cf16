import { useMemo } from 'react';

import { LIVE_RANGE, useLoaded } from '../lib/api';
import { Empty, Source, Trouble } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { Lines, Mesh, Series } from '../lib/types';
import { Chart, type ChartLine } from './Chart';

const RANGES = [
  ['300', 'Last 5 minutes'],
  ['1800', 'Last 30 minutes'],
  ['3600', 'Last hour'],
  ['21600', 'Last 6 hours'],
  ['86400', 'Last day'],
  ['604800', 'Last week'],
  ['2592000', 'Last 30 days'],
] as const;

export function Metrics({ namespace, name }: { namespace: string; name: string }) {
  const [range, setRange] = useParameter('range', '1800');
  const query = new URLSearchParams({ namespace, name, range });
  const { data, error } = useLoaded<Series>(`/api/history?${query.toString()}`, Number(range) <= LIVE_RANGE ? 5000 : 60_000);
  const { data: mesh } = useLoaded<Mesh>('/api/mesh', 60_000);
  return (
    <>
      <label className="choice narrow">
        <span>Time range</span>
        <select value={range} onChange={(event) => setRange(event.target.value)}>
          {RANGES.filter(([value]) => value === range || Number(value) <= (mesh?.maxRange ?? LIVE_RANGE)).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {error && <Trouble text={error} />}
      {!data && !error && <Empty title="Loading">Asking the history.</Empty>}
      {data?.source && <Source of={data.source} at={(data.times.at(-1) ?? 0) * 1000} />}
      {data && (
        <div className="charts">
          <Side title="Inbound" times={data.times} lines={data.inbound} />
          <Side title="Outbound" times={data.times} lines={data.outbound} />
        </div>
      )}
    </>
  );
}

function Side({ title, times, lines }: { title: string; times: number[]; lines: Lines }) {
  const counts: ChartLine[] = useMemo(
    () => [
      { name: 'let through', values: lines.rate, colour: '--fine' },
      { name: 'errors', values: lines.errors, colour: '--failing', dash: [6, 3] },
      { name: 'denied', values: lines.denied, colour: '--denied', dash: [2, 3] },
    ],
    [lines],
  );
  const durations: ChartLine[] = useMemo(
    () => [
      { name: 'p50', values: lines.p50, colour: '--fine' },
      { name: 'p95', values: lines.p95, colour: '--degraded', dash: [6, 3] },
      { name: 'p99', values: lines.p99, colour: '--failing', dash: [2, 3] },
    ],
    [lines],
  );
  return (
    <>
      <Chart title={`${title} requests per second`} unit="/s" times={times} lines={counts} />
      <Chart title={`${title} duration in milliseconds`} unit=" ms" times={times} lines={durations} />
    </>
  );
}
