// What pages share.

import { useState, type MouseEvent, type ReactNode } from 'react';

import { navigate } from './router';

export function Link({ to, children, current }: { to: string; children: ReactNode; current?: boolean }) {
  const go = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={to} onClick={go} {...(current ? { 'aria-current': 'page' as const } : {})}>
      {children}
    </a>
  );
}

export function Copy({ text, children }: { text: string; children: ReactNode }) {
  const [state, setState] = useState<'idle' | 'done' | 'failed'>('idle');
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => setState('done'),
      () => setState('failed'),
    );
    setTimeout(() => setState('idle'), 2000);
  };
  return (
    <button type="button" className="copy" onClick={copy}>
      <span aria-live="polite">{state === 'idle' ? children : state === 'done' ? 'Copied' : 'Select and copy it'}</span>
    </button>
  );
}

/// A sentence in which user input stands in back-ticks.
export function Prose({ text }: { text: string }) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part));
}

/// The command that prints the same.
export function Command({ children }: { children: string }) {
  return (
    <p className="command">
      <span>Same in a terminal</span>
      <code>{children}</code>
      <Copy text={children}>Copy</Copy>
    </p>
  );
}

/// The titles of a table's columns.
export function Head({ of }: { of: string[] }) {
  return (
    <thead>
      <tr>
        {of.map((title) => (
          <th key={title} scope="col">
            {title}
          </th>
        ))}
      </tr>
    </thead>
  );
}

/// Nothing to show: why, and what to do next.
export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="empty" role="status">
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

/// What is not of the console's own memory, and what that means.
export function Source({ of, at }: { of: string; at: number }) {
  return (
    <p className="note quiet">
      Told by {of} as of {new Date(at).toLocaleTimeString()}, as exactly as its <code>increase</code> can; not followed live, and without single calls.
    </p>
  );
}

export function Trouble({ text }: { text: string }) {
  return (
    <p className="trouble" role="alert">
      <Prose text={text} />
    </p>
  );
}
