// The address of the page is its state: what is shown can be linked to.

import { useCallback, useSyncExternalStore } from 'react';

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener('popstate', listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener('popstate', listener);
  };
}

export function navigate(to: string, replace = false): void {
  if (replace) window.history.replaceState(null, '', to);
  else window.history.pushState(null, '', to);
  for (const listener of listeners) listener();
}

export function useAddress(): URL {
  return new URL(useSyncExternalStore(subscribe, () => window.location.href));
}

/// One parameter of the address, and how to change it; the default is left out of the address.
export function useParameter(name: string, otherwise = ''): [string, (value: string) => void] {
  const address = useAddress();
  const set = useCallback(
    (value: string) => {
      const url = new URL(window.location.href);
      if (value === otherwise) url.searchParams.delete(name);
      else url.searchParams.set(name, value);
      navigate(url.pathname + url.search, true);
    },
    [name, otherwise],
  );
  return [address.searchParams.get(name) ?? otherwise, set];
}
