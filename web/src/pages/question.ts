// A call that somebody asks about: in the address, for the API, and as a command.

import { explainCommand, quoted } from '../graph/text';
import type { Question } from '../lib/types';

export interface Form {
  from: string;
  to: string;
  method: string;
  path: string;
  host: string;
  port: string;
  /// `on` for a connection that is not HTTP.
  tcp: string;
  headers: string;
  claims: string;
}

export function formOf(query: URLSearchParams): Form {
  const or = (name: string, otherwise: string) => query.get(name) ?? otherwise;
  return {
    from: or('from', ''),
    to: or('to', ''),
    method: or('method', 'GET'),
    path: or('path', '/'),
    host: or('host', ''),
    port: or('port', ''),
    tcp: or('tcp', ''),
    headers: or('headers', ''),
    claims: or('claims', ''),
  };
}

const lines = (text: string) => text.split('\n').map((line) => line.trim()).filter(Boolean);

/// The question, as the API takes it.
export function questionOf(form: Form): Question {
  return {
    from: form.from,
    to: form.to,
    method: form.method,
    path: form.path,
    headers: lines(form.headers),
    claims: lines(form.claims),
    tcp: form.tcp === 'on',
    ...(form.host ? { host: form.host } : {}),
    ...(form.port ? { port: Number(form.port) } : {}),
  };
}

/// The command that asks the same.
export function commandOf(form: Form): string {
  const call = { from: form.from || 'CALLER', to: form.to || 'WORKLOAD', method: form.method, path: form.path, host: form.host, port: Number(form.port) || undefined, tcp: form.tcp === 'on' };
  const more = [...lines(form.headers).map((it) => ` --header ${quoted(it)}`), ...lines(form.claims).map((it) => ` --claim ${quoted(it)}`)];
  return explainCommand(call) + more.join('');
}
