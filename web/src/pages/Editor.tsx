// YAML with line numbers and the problems of each line. A plain text field, so that all keys do what they do
// everywhere.

import { useMemo, useRef } from 'react';

import { Prose } from '../lib/Parts';
import type { Problem } from '../lib/types';

interface Props {
  label: string;
  value: string;
  problems: Problem[];
  readOnly?: boolean;
  onChange: (value: string) => void;
}

export function Editor({ label, value, problems, readOnly = false, onChange }: Props) {
  const gutter = useRef<HTMLOListElement>(null);
  const text = useRef<HTMLTextAreaElement>(null);
  const count = value.split('\n').length;
  const marks = useMemo(() => new Map(problems.map((problem) => [problem.line, problem])), [problems]);
  const show = (line: number) => {
    const field = text.current;
    if (!field || line < 1) return;
    const begin = value.split('\n').slice(0, line - 1).join('\n').length + (line > 1 ? 1 : 0);
    field.focus();
    field.setSelectionRange(begin, begin);
  };
  return (
    <>
      <div className="editor">
        <ol ref={gutter} aria-hidden="true">
          {Array.from({ length: count }, (_, index) => {
            const mark = marks.get(index + 1);
            return (
              <li key={index} className={mark?.severity ?? ''} title={mark ? `${mark.code} ${mark.message}` : undefined}>
                {mark && (mark.severity === 'error' ? '✕ ' : '! ')}
                {index + 1}
              </li>
            );
          })}
        </ol>
        <textarea
          ref={text}
          aria-label={label}
          aria-describedby="problems"
          aria-invalid={problems.some((problem) => problem.severity === 'error')}
          spellCheck={false}
          wrap="off"
          rows={Math.min(26, Math.max(8, count + 1))}
          readOnly={readOnly}
          value={value}
          onChange={(event) => onChange(event.target.value)}
          onScroll={(event) => {
            if (gutter.current) gutter.current.scrollTop = event.currentTarget.scrollTop;
          }}
        />
      </div>
      <div id="problems" aria-live="polite">
        {problems.map((problem) => (
          <p key={problem.code + problem.line + problem.message} className={`problem ${problem.severity}`}>
            <b>{problem.code}</b>{' '}
            {problem.line > 0 && (
              <button type="button" className="as-link" onClick={() => show(problem.line)}>
                line {problem.line}
              </button>
            )}{' '}
            <Prose text={problem.message} />
            {problem.help && (
              <small>
                <Prose text={problem.help} />
              </small>
            )}
          </p>
        ))}
      </div>
    </>
  );
}
