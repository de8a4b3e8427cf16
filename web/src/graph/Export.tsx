import { useState } from 'react';

import { words } from '../lib/api';
import type { Graph } from '../lib/types';
import { Menu } from './Menu';
import type { Layout } from './route';
import { download, palette, png, svg } from './picture';
import type { LabelOptions } from './text';

/// The graph as a file.
export function Export({ graph, places, options }: { graph: Graph; places: Layout | null; options: LabelOptions }) {
  const [error, setError] = useState('');
  const name = `palisade-graph-${new Date(graph.atMs).toISOString().slice(0, 19).replaceAll(':', '')}`;
  const save = async (kind: 'png' | 'svg' | 'json') => {
    const picture = places && kind !== 'json' ? svg(graph, places, options, palette()) : '';
    const blob =
      kind === 'json'
        ? new Blob([JSON.stringify(graph, null, 2)], { type: 'application/json' })
        : kind === 'svg'
          ? new Blob([picture], { type: 'image/svg+xml' })
          : await png(picture);
    download(`${name}.${kind}`, blob);
  };
  return (
    <Menu title="Export">
      <div>
        {(['png', 'svg', 'json'] as const).map((kind) => (
          <button
            key={kind}
            type="button"
            disabled={!places && kind !== 'json'}
            onClick={() => {
              save(kind).then(
                () => setError(''),
                (why: unknown) => setError(words(why)),
              );
            }}
          >
            {kind.toUpperCase()}
          </button>
        ))}
        {error && <p className="wrong">{error}</p>}
      </div>
    </Menu>
  );
}
