// Talks to the console's server, and to nobody else.

import { useCallback, useEffect, useState } from 'react';

import type { Graph, GraphChange } from './types';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const text = await response.text();
  let message = text.trim();
  try {
    message = (JSON.parse(text) as { error?: string }).error ?? message;
  } catch {
    // Not JSON: the text itself is the message.
  }
  throw new ApiError(response.status, message);
}

export async function get<T>(path: string): Promise<T> {
  return answer<T>(await fetch(path));
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  return answer<T>(await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) }));
}

export interface Loaded<T> {
  data: T | null;
  error: string | null;
}

/// Loads, and again every few seconds while the page is looked at.
export function useLoaded<T>(path: string, everyMs: number): Loaded<T> & { reload: () => void } {
  const [loaded, setLoaded] = useState<Loaded<T>>({ data: null, error: null });
  const reload = useCallback(() => {
    get<T>(path).then(
      (data) => setLoaded({ data, error: null }),
      (error: unknown) => setLoaded((old) => ({ data: old.data, error: words(error) })),
    );
  }, [path]);
  useEffect(() => {
    reload();
    const timer = setInterval(() => {
      if (!document.hidden) reload();
    }, everyMs);
    return () => clearInterval(timer);
  }, [reload, everyMs]);
  return { ...loaded, reload };
}

/// Longer time ranges than this (seconds) are asked of a Prometheus and not followed.
export const LIVE_RANGE = 21_600;

/// Follows the graph live; with a fixed time, or over a long time, it is loaded once. With an empty query, nothing
/// is loaded. A graph that can't be loaded leaves the one before in its place.
export function useGraph(query: string, live: boolean): Loaded<Graph> & { connected: boolean } {
  const [graph, setGraph] = useState<Graph | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [connected, setConnected] = useState(false);
  useEffect(() => {
    if (query === '') return;
    if (!live) {
      let stale = false;
      get<Graph>(`/api/graph?${query}`).then(
        (data) => {
          if (stale) return;
          setGraph(data);
          setError(null);
        },
        (why: unknown) => {
          if (!stale) setError(words(why));
        },
      );
      return () => {
        stale = true;
      };
    }
    const events = new EventSource(`/api/events?${query}`);
    events.addEventListener('graph', (event: MessageEvent<string>) => {
      const change = JSON.parse(event.data) as GraphChange;
      setGraph((old) => applied(old, change));
      setError(null);
      setConnected(true);
    });
    events.onerror = () => {
      setConnected(false);
      setError('The console does not answer. If the mesh was stopped, start it with `palisade up`; if it was started anew, log in with a link of `palisade console`.');
    };
    return () => events.close();
  }, [query, live]);
  return { data: graph, error, connected };
}

/// A graph with a change made; what did not change stays the same object.
export function applied(old: Graph | null, change: GraphChange): Graph {
  const { nodes, edges, gone, whole, ...rest } = change;
  if (!old || whole) return { ...rest, nodes, edges };
  return { ...rest, nodes: merged(old.nodes, nodes, gone), edges: merged(old.edges, edges, gone) };
}

function merged<T extends { id: string }>(old: T[], changed: T[], gone: string[]): T[] {
  if (changed.length === 0 && gone.length === 0) return old;
  const all = new Map(old.map((item) => [item.id, item]));
  for (const id of gone) all.delete(id);
  for (const item of changed) all.set(item.id, item);
  return [...all.values()];
}

export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
