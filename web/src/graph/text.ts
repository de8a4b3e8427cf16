// What edges and nodes say in words: labels, tooltips, commands and tests to copy.

import type { DecisionRecord, GraphEdge, GraphNode, LockState, PolicyCount } from '../lib/types';

export const LOCK_WORDS: Record<LockState, string> = {
  mtls: 'mTLS',
  partly: 'partly mTLS',
  plaintext: 'plaintext',
  unknown: 'mTLS unknown',
};

export function title(node: GraphNode | undefined): string {
  if (!node) return 'unknown';
  return node.version ? `${node.name} ${node.version}` : node.name;
}

/// A number with three digits at most that count.
export function short(value: number): string {
  if (value === 0) return '0';
  if (value >= 100) return Math.round(value).toString();
  return Number(value.toPrecision(2)).toString();
}

export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 0.1 ? `${short(perSecond * 60)}/min` : `${short(perSecond)}/s`;
}

export function milliseconds(value: number | null): string {
  if (value === null) return '–';
  return value >= 1000 ? `${short(value / 1000)} s` : `${short(value)} ms`;
}

export function lockText(edge: GraphEdge): string {
  const { state, percent } = edge.lock;
  if (state === 'partly') return `mTLS ${Math.floor(percent ?? 0)} %`;
  return LOCK_WORDS[state];
}

const NO_ALLOW = 'no ALLOW rule matched';

export function policyName(denial: PolicyCount): string {
  if (!denial.policy) return NO_ALLOW;
  const rule = denial.rule === null ? '' : ` rule ${denial.rule}`;
  return `${denial.policy}.${denial.namespace}${rule}`;
}

export function refusalText(edge: GraphEdge): string {
  const reason = edge.refusal?.reason ?? '';
  return reason === 'plaintext' ? reasonText(reason) : `TLS refused: ${reasonText(reason)}`;
}

/// Why a call was refused, as a person says it.
export function reasonText(reason: string): string {
  if (reason === 'plaintext') return 'plaintext refused (STRICT)';
  return reason === 'no_allow_matched' ? NO_ALLOW : reason.replaceAll('_', ' ').replace('tls', 'TLS');
}

/// What can stand on an edge.
export const LABELS = ['rate', 'errors', 'p50', 'p95', 'p99', 'throughput'] as const;
export const USUAL_LABELS = 'rate,errors,p95';
export type LabelOptions = readonly string[];

/// Numbers in a line of a label.
export const IN_A_LINE = 3;

/// The lines of an edge's label, below its lock.
export function label(edge: GraphEdge, options: LabelOptions): string[] {
  if (edge.draft) return [edge.draft, `${edge.traffic.count}× recorded`];
  if (edge.change) return edge.change.split(' · ');
  if (edge.verdict === 'denied') {
    const why = edge.denials[0];
    return [`${edge.traffic.count} denied`, ...(why ? [policyName(why)] : [])];
  }
  if (edge.verdict === 'refused') {
    return [refusalText(edge), `${edge.refusal?.address ?? ''} · ${edge.traffic.count}×`];
  }
  const { traffic } = edge;
  const times = { p50: traffic.p50Ms, p95: traffic.p95Ms, p99: traffic.p99Ms };
  const several = Object.keys(times).filter((name) => options.includes(name)).length > 1;
  const texts: Record<string, string> = {
    rate: rate(traffic.rate),
    errors: traffic.errors > 0 ? `${short(traffic.errorPercent)} % err` : '',
    throughput: `${short(traffic.bytesPerSecond)} B/s`,
  };
  for (const [name, time] of Object.entries(times)) texts[name] = time === null ? '' : `${several ? `${name} ` : ''}${milliseconds(time)}`;
  const parts = LABELS.filter((name) => options.includes(name)).map((name) => texts[name]).filter(Boolean);
  const lines = [parts.slice(0, IN_A_LINE), parts.slice(IN_A_LINE)];
  return lines.filter((line) => line.length > 0).map((line) => line.join(' · '));
}

/// A number of things.
export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/// A length of time (milliseconds), in its largest whole unit.
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return plural(seconds, 'second');
  return seconds < 7200 ? plural(Math.round(seconds / 60), 'minute') : plural(Math.round(seconds / 3600), 'hour');
}

/// One sentence on an edge.
export function sentence(edge: GraphEdge, source?: GraphNode, target?: GraphNode): string {
  const who = `${title(source)} → ${title(target)}`;
  if (edge.draft) return `${who} · ${edge.draft} · ${edge.traffic.count}× recorded`;
  if (edge.change) return `${who} · ${edge.verdict} · ${edge.change}`;
  if (edge.verdict === 'refused') {
    return `${who} · ${refusalText(edge)} · ${edge.traffic.count}× from ${edge.refusal?.address ?? '?'} to port ${edge.refusal?.port || '?'}`;
  }
  const lock = edge.lock.state === 'mtls' ? 'mTLS 100 %' : lockText(edge);
  if (edge.verdict === 'denied') {
    const last = edge.lastDenied.at(-1);
    const call = last?.method ? ` · ${last.method} ${last.path}` : '';
    const why = edge.denials.map(policyName).join(', ') || 'by a policy';
    return `${who}${call} · ${edge.traffic.count} denied: ${why} · ${lock}`;
  }
  const { count, errors, errorPercent, p95Ms } = edge.traffic;
  const calls = edge.protocols.includes('tcp') && edge.protocols.length === 1 ? 'connection' : 'request';
  const failed = errors > 0 ? ` · ${short(errorPercent)} % errors` : '';
  const slow = p95Ms === null ? '' : ` · p95 ${milliseconds(p95Ms)}`;
  return `${who} · ${plural(count, calls)}, ${rate(edge.traffic.rate)}${failed}${slow} · ${lock}`;
}

/// `NAMESPACE/SERVICE-ACCOUNT` of a SPIFFE ID, as `explain --from` takes it; a pod's address stays unknown.
export function caller(principal: string | null | undefined): string {
  if (!principal || principal === 'unknown') return 'none';
  const match = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(principal);
  return match ? `${match[1]}/${match[2]}` : principal;
}

export interface CallOf {
  from: string;
  to: string;
  method: string;
  path: string;
  host?: string | undefined;
  port?: number | undefined;
  /// A connection that is not HTTP.
  tcp?: boolean;
}

/// A request as a line: method, host and path; a connection as its port.
export function requestText(of: Pick<DecisionRecord, 'method' | 'host' | 'path'>, port: number): string {
  return of.method ? `${of.method} ${of.host ?? ''}${of.path}` : `port ${port}`;
}

/// The call to ask about: of a denied edge the last one that was denied.
export function callOf(edge: GraphEdge, target: GraphNode | undefined, record?: DecisionRecord): CallOf {
  const last = record ?? edge.lastDenied.at(-1);
  const principal = last ? last.source.principal : edge.sourcePrincipals[0];
  const name = target?.workload || target?.name || edge.services[0] || '';
  return {
    from: caller(principal),
    to: `${name}.${target?.namespace ?? 'default'}`,
    method: last?.method || 'GET',
    path: last?.path || '/',
    host: last?.host || undefined,
    port: last?.destination.port ?? edge.refusal?.port,
    tcp: last ? !last.method : edge.protocols.join() === 'tcp',
  };
}

/// A word that a shell takes as it is.
export function quoted(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function explainCommand(call: CallOf): string {
  const port = call.port ? ` --port ${call.port}` : '';
  const host = call.host ? ` --host ${quoted(call.host)}` : '';
  const request = call.tcp ? ' --tcp' : ` --method ${quoted(call.method)} --path ${quoted(call.path)}${host}`;
  return `palisade explain --from ${quoted(call.from)} --to ${quoted(call.to)}${request}${port}`;
}

function callQuery(call: CallOf): string {
  const query = new URLSearchParams({ from: call.from, to: call.to, method: call.method, path: call.path });
  if (call.host) query.set('host', call.host);
  if (call.port) query.set('port', String(call.port));
  if (call.tcp) query.set('tcp', 'on');
  return query.toString();
}

export function explainLink(call: CallOf): string {
  return `/policy?${callQuery(call)}`;
}

/// What the link to a proposed policy says.
export const PROPOSE = 'Create policy allowing this';

/// The editor with the policy that allows a call, given as such or as the query of its explanation.
export function proposeLink(call: CallOf | string): string {
  return `/istio?propose=on&${typeof call === 'string' ? call : callQuery(call)}`;
}

/// A probe of a suite for `palisade test`: what happens today is what is expected.
export function asTest(edge: GraphEdge, source: GraphNode | undefined, target: GraphNode | undefined): string {
  const call = callOf(edge, target);
  const who = source?.workload || source?.name || 'CALLER';
  const denied = edge.verdict !== 'allowed';
  const first = edge.denials[0];
  const policy = first?.policy ? `, policy: ${first.policy}.${first.namespace}` : '';
  const service = edge.services[0] ?? target?.name ?? '';
  // The host decides in some policies, so it is asked for by the name that the caller used.
  const host = call.host?.split(/[.:]/)[0] === service ? call.host : `${service}.${target?.namespace ?? 'default'}`;
  const url = `http://${host}${call.path}`;
  const name = `${title(source)} may${denied ? ' not' : ''} ${call.method} ${call.path} at ${title(target)}`;
  return [
    'probes:',
    `  - name: ${JSON.stringify(name)}`,
    `    from: deploy/${who}.${source?.namespace || 'default'}`,
    `    to: ${JSON.stringify(url)}`,
    `    method: ${call.method}`,
    `    expect: {verdict: ${denied ? 'deny' : 'allow'}${policy}}`,
    '',
  ].join('\n');
}
