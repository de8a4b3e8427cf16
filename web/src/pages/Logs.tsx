// What a container writes, live. Only the last lines are kept.

import { useEffect, useRef, useState } from 'react';

import { Command } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { Workload } from '../lib/types';

const MOST = 2000;

export function Logs({ pods }: { pods: Workload[] }) {
  const [asked, setPod] = useParameter('pod');
  const pod = pods.find((it) => it.pod === asked) ?? pods[0];
  const containers = [...(pod?.sidecar ? ['istio-proxy'] : []), ...(pod?.containers ?? []).filter((name) => name !== 'istio-proxy')];
  const [chosen, setContainer] = useParameter('container');
  const container = containers.includes(chosen) ? chosen : (containers.at(-1) ?? '');
  const [filter, setFilter] = useState('');
  const [paused, setPaused] = useState(false);
  const { lines, end } = useLines(pod, container, paused);
  const shown = lines.filter((line) => line.toLowerCase().includes(filter.toLowerCase()));
  const place = useRef<HTMLPreElement>(null);
  useEffect(() => {
    if (!paused && place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [shown.length, paused]);
  if (!pod) return null;
  return (
    <>
      <div className="bar">
        <label className="choice">
          <span>Pod</span>
          <select value={pod.pod} onChange={(event) => setPod(event.target.value)}>
            {pods.map((it) => (
              <option key={it.pod}>{it.pod}</option>
            ))}
          </select>
        </label>
        <label className="choice">
          <span>Container</span>
          <select value={container} onChange={(event) => setContainer(event.target.value)}>
            {containers.map((name) => (
              <option key={name} value={name}>
                {name === 'istio-proxy' ? 'istio-proxy (sidecar)' : name}
              </option>
            ))}
          </select>
        </label>
        <label className="choice">
          <span>Lines with</span>
          <input type="search" value={filter} onChange={(event) => setFilter(event.target.value)} />
        </label>
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? 'Go on' : 'Pause'}
        </button>
      </div>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must take the focus */}
      <pre className="log" ref={place} tabIndex={0} aria-label={`Log of ${container}`}>
        {shown.join('\n') || (lines.length > 0 ? 'No line has this in it.' : 'Nothing was written yet.')}
      </pre>
      {end && <p className="note">{end}</p>}
      <Command>{`palisade logs -f -c ${container} ${pod.pod}.${pod.namespace}`}</Command>
    </>
  );
}

function useLines(pod: Workload | undefined, container: string, paused: boolean): { lines: string[]; end: string } {
  const [lines, setLines] = useState<string[]>([]);
  const [end, setEnd] = useState('');
  const waiting = useRef<string[]>([]);
  const held = useRef(paused);
  held.current = paused;
  const query = pod ? new URLSearchParams({ namespace: pod.namespace, pod: pod.pod, container }).toString() : '';
  useEffect(() => {
    if (!query) return;
    setLines([]);
    setEnd('');
    waiting.current = [];
    const events = new EventSource(`/api/logs?${query}`);
    events.addEventListener('line', (event: MessageEvent<string>) => {
      waiting.current = [...waiting.current, event.data].slice(-MOST);
    });
    events.addEventListener('end', (event: MessageEvent<string>) => {
      setEnd(`The log ends here: ${event.data}.`);
      events.close();
    });
    events.onerror = () => {
      setEnd('The log can not be read: too many logs are open, or the console does not answer.');
      events.close();
    };
    const flush = setInterval(() => {
      if (held.current || waiting.current.length === 0) return;
      const fresh = waiting.current;
      waiting.current = [];
      setLines((old) => [...old, ...fresh].slice(-MOST));
    }, 200);
    return () => {
      clearInterval(flush);
      events.close();
    };
  }, [query]);
  return { lines, end };
}
