import { useEffect, useRef, type ReactNode } from 'react';

/// What opens below its title, until Escape or a press anywhere else.
export function Menu({ title, children }: { title: string; children: ReactNode }) {
  const place = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = () => place.current?.removeAttribute('open');
    const pressed = ({ target }: Event) => {
      if (target instanceof Node && !place.current?.contains(target)) close();
    };
    const typed = ({ key }: KeyboardEvent) => {
      if (key === 'Escape') close();
    };
    document.addEventListener('pointerdown', pressed);
    document.addEventListener('focusin', pressed);
    document.addEventListener('keydown', typed);
    return () => {
      document.removeEventListener('pointerdown', pressed);
      document.removeEventListener('focusin', pressed);
      document.removeEventListener('keydown', typed);
    };
  }, []);
  return (
    <details className="menu" ref={place}>
      <summary>{title}</summary>
      {children}
    </details>
  );
}
