import { lazy, Suspense, useEffect, useState } from 'react';

import { GraphPage } from './graph/GraphPage';
import { Empty, Link } from './lib/Parts';
import { useAddress } from './lib/router';
import { ConfigPage } from './pages/Config';
import { MeshPage } from './pages/Mesh';
import { NamespacesPage } from './pages/Namespaces';
import { PolicyPage } from './pages/Policy';
import { ServicesPage } from './pages/Services';
import { TrafficPage } from './pages/Traffic';
import { WorkloadsPage } from './pages/Workloads';

const TokensPage = lazy(async () => ({ default: (await import('./pages/Tokens')).TokensPage }));

const PAGES = [
  { path: '/graph', name: 'Graph', Page: GraphPage },
  { path: '/traffic', name: 'Traffic', Page: TrafficPage },
  { path: '/namespaces', name: 'Namespaces', Page: NamespacesPage },
  { path: '/workloads', name: 'Workloads', Page: WorkloadsPage },
  { path: '/services', name: 'Services', Page: ServicesPage },
  { path: '/istio', name: 'Istio Config', Page: ConfigPage },
  { path: '/policy', name: 'Policy tester', Page: PolicyPage },
  { path: '/tokens', name: 'Tokens', Page: TokensPage },
  { path: '/mesh', name: 'Mesh', Page: MeshPage },
] as const;

type Theme = 'light' | 'dark';

function firstTheme(): Theme {
  const kept = localStorage.getItem('theme');
  if (kept === 'light' || kept === 'dark') return kept;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

export function App() {
  const { pathname } = useAddress();
  const [theme, setTheme] = useState(firstTheme);
  const shown = pathname === '/' ? '/graph' : pathname;
  const here = PAGES.find(({ path }) => shown === path || shown.startsWith(`${path}/`));
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => {
    document.title = here ? `${here.name} · Palisade` : 'Palisade';
  }, [here]);
  const swap = () => {
    const next = theme === 'light' ? 'dark' : 'light';
    localStorage.setItem('theme', next);
    setTheme(next);
  };
  return (
    <>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <nav aria-label="Pages">
        <p className="logo">
          <img src="/icon.svg" alt="" width="24" height="24" /> Palisade
        </p>
        <ul>
          {PAGES.map(({ path, name }) => (
            <li key={path}>
              <Link to={path} current={here?.path === path}>
                {name}
              </Link>
            </li>
          ))}
        </ul>
        <button type="button" onClick={swap}>
          {theme === 'light' ? 'Dark theme' : 'Light theme'}
        </button>
      </nav>
      <main id="main" tabIndex={-1}>
        {here ? (
          <Suspense fallback={<Empty title="Loading">Loading the page.</Empty>}>
            <here.Page />
          </Suspense>
        ) : (
          <Empty title="No such page">
            <Link to="/graph">Go to the graph</Link>
          </Empty>
        )}
      </main>
    </>
  );
}
