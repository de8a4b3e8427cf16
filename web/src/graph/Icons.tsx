// Small pictures. Each state of a lock has a shape of its own, not a colour alone.

import type { LockState } from '../lib/types';

const SHACKLE: Record<LockState, string> = {
  mtls: 'M4.5 7V4.8a3.5 3.5 0 0 1 7 0V7',
  partly: 'M4.5 7V4.8a3.5 3.5 0 0 1 6.6-1.6',
  plaintext: 'M1.6 7V4.2a3 3 0 0 1 5.9-.7',
  unknown: '',
};

export function LockIcon({ state }: { state: LockState }) {
  return (
    <svg className={`lock lock-${state}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {state === 'unknown' ? (
        <text x="8" y="13.5" textAnchor="middle">
          ?
        </text>
      ) : (
        <>
          <path d={SHACKLE[state]} className="shackle" />
          <rect x="3" y="7" width="10" height="7.5" rx="1.4" className="body" />
          {state === 'partly' && <rect x="3.9" y="7.9" width="4.1" height="5.7" className="half" />}
        </>
      )}
    </svg>
  );
}

export function BlockedIcon() {
  return (
    <svg className="blocked" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <circle cx="8" cy="8" r="6" />
      <path d="M3.8 12.2 12.2 3.8" />
    </svg>
  );
}
