import { Menu } from './Menu';

/// A choice of several namespaces; none chosen is all of them.
export function Namespaces({ all, chosen, onChange }: { all: string[]; chosen: string[]; onChange: (chosen: string[]) => void }) {
  const swap = (name: string) => onChange(chosen.includes(name) ? chosen.filter((it) => it !== name) : [...chosen, name].sort());
  const text = chosen.length === 0 ? 'all' : chosen.length <= 2 ? chosen.join(', ') : `${chosen.length} of ${all.length}`;
  return (
    <Menu title={`Namespaces: ${text}`}>
      <fieldset>
        <legend className="hidden">Namespaces</legend>
        <button type="button" className="as-link" disabled={chosen.length === 0} onClick={() => onChange([])}>
          Show all
        </button>
        {all.map((name) => (
          <label key={name}>
            <input type="checkbox" checked={chosen.includes(name)} onChange={() => swap(name)} />
            {name}
          </label>
        ))}
      </fieldset>
    </Menu>
  );
}
