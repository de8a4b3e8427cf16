import { useEffect, useState } from 'react';

/// Milliseconds of the past that a second of playing shows.
const SPEED_MS = 10_000;
const TICK_MS = 500;
/// How much earlier the time is that is compared with at first.
const COMPARED_MS = 600_000;

interface Props {
  at: string;
  since: number;
  /// When it was loaded, if it is not followed live.
  loaded: number | undefined;
  onChange: (at: string) => void;
  /// The time that it is compared with; empty: none.
  against: string;
  onCompare: (against: string) => void;
}

/// Live, or the end of the time range at a moment of the past, which can be played.
export function Replay({ at, since, loaded, onChange, against, onCompare }: Props) {
  const [playing, setPlaying] = useState(false);
  const now = Date.now();
  const begin = since > 0 ? Math.min(since, now - 60_000) : now - 3_600_000;
  const value = at ? Number(at) : (loaded ?? now);
  const isLive = at === '' && loaded === undefined;
  useEffect(() => {
    if (!playing) return;
    const timer = setTimeout(() => {
      const next = value + (SPEED_MS * TICK_MS) / 1000;
      if (next < Date.now() - SPEED_MS) return onChange(String(next));
      setPlaying(false);
      onChange('');
    }, TICK_MS);
    return () => clearTimeout(timer);
  }, [playing, value, onChange]);
  const play = () => {
    if (!playing && !at) onChange(String(begin));
    setPlaying(!playing);
  };
  return (
    <div className="replay">
      <label>
        <span>{isLive ? 'Live' : `As of ${new Date(value).toLocaleTimeString()}`}</span>
        <input
          type="range"
          min={begin}
          max={now}
          step={1000}
          value={value}
          aria-valuetext={isLive ? 'live' : new Date(value).toLocaleTimeString()}
          onChange={(event) => onChange(Number(event.target.value) > now - 2000 ? '' : event.target.value)}
        />
      </label>
      <button type="button" aria-pressed={playing} disabled={loaded !== undefined} onClick={play}>
        {playing ? 'Stop' : 'Play'}
      </button>
      <button
        type="button"
        disabled={at === ''}
        onClick={() => {
          setPlaying(false);
          onChange('');
        }}
      >
        Go live
      </button>
      {against && (
        <label>
          <span>Compared with {new Date(Number(against)).toLocaleTimeString()}</span>
          <input
            type="range"
            min={Math.min(begin, Number(against))}
            max={now}
            step={1000}
            value={against}
            aria-valuetext={new Date(Number(against)).toLocaleTimeString()}
            onChange={(event) => onCompare(event.target.value)}
          />
        </label>
      )}
      <button type="button" aria-pressed={against !== ''} onClick={() => onCompare(against ? '' : String(Math.max(begin, value - COMPARED_MS)))}>
        {against ? 'Stop comparing' : 'Compare'}
      </button>
    </div>
  );
}
