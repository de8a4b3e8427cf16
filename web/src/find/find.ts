// The find and hide language: Kiali's operands with the usual precedence (NOT before AND before OR) and
// parentheses, and operands for what policies did. An expression that names anything of an edge selects edges,
// where an operand of a node holds if it does at either end; any other selects nodes.

import type { GraphEdge, GraphNode } from '../lib/types';

export type Expression =
  | { kind: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'not'; of: Expression }
  | { kind: 'is'; operand: string; operator: Operator; value: string };

type Operator = '=' | '!=' | '>' | '>=' | '<' | '<=' | '*=' | '!*=' | '^=' | '$=' | 'true';

export interface Found {
  target: 'node' | 'edge';
  expression: Expression;
}

export class FindError extends Error {}

interface Subject {
  edge?: GraphEdge;
  node: GraphNode;
}

type Value = string | number | boolean | string[] | undefined;

const EDGE: Record<string, (edge: GraphEdge) => Value> = {
  '%httperr': (edge) => (edge.protocols.includes('http') ? edge.traffic.errorPercent : undefined),
  '%grpcerr': (edge) => (edge.protocols.includes('grpc') ? edge.traffic.errorPercent : undefined),
  http: (edge) => (edge.protocols.includes('http') ? edge.traffic.rate : undefined),
  grpc: (edge) => (edge.protocols.includes('grpc') ? edge.traffic.rate : undefined),
  tcp: (edge) => (edge.protocols.includes('tcp') ? edge.traffic.bytesPerSecond : undefined),
  mtls: (edge) => (edge.lock.state === 'unknown' ? undefined : (edge.lock.percent ?? 0)),
  plaintext: (edge) => edge.lock.state === 'plaintext' || edge.lock.state === 'partly',
  protocol: (edge) => edge.protocols,
  responsetime: (edge) => edge.traffic.p95Ms ?? undefined,
  throughput: (edge) => edge.traffic.bytesPerSecond,
  traffic: (edge) => edge.traffic.rate > 0,
  destprincipal: (edge) => edge.destinationPrincipals,
  sourceprincipal: (edge) => edge.sourcePrincipals,
  principal: (edge) => [...edge.sourcePrincipals, ...edge.destinationPrincipals],
  verdict: (edge) => edge.verdict,
  policy: (edge) => [...edge.denials, ...edge.dryRun].map((denial) => denial.policy),
};

const NODE: Record<string, (node: GraphNode) => Value> = {
  app: (node) => (node.kind === 'app' ? node.name : undefined),
  name: (node) => node.name,
  namespace: (node) => node.namespace,
  node: (node) => node.kind,
  service: (node) => (node.kind === 'service' ? node.name : undefined),
  version: (node) => node.version,
  workload: (node) => node.workload || (node.kind === 'workload' ? node.name : undefined),
};

const ALIAS: Record<string, string> = { rt: 'responsetime', ns: 'namespace', svc: 'service', wl: 'workload' };

export const OPERANDS = [...Object.keys(EDGE), ...Object.keys(NODE)].sort();

const TOKEN = /\s*(\(|\)|!\*=|!=|>=|<=|\*=|\^=|\$=|=|>|<|!|"[^"]*"|[^\s()=!<>*^$"]+)/y;

function tokens(text: string): string[] {
  const found: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match?.[1]) throw new FindError(`can't read \`${text.slice(at).trim()}\``);
    found.push(match[1]);
  }
  return found;
}

/// Reads an expression; null if there is none.
export function parse(text: string): Found | null {
  const words = tokens(text);
  if (words.length === 0) return null;
  const expression = new Parser(words).whole();
  return { target: namesEdge(expression) ? 'edge' : 'node', expression };
}

class Parser {
  private at = 0;
  constructor(private readonly words: string[]) {}

  whole(): Expression {
    const expression = this.or();
    if (this.at < this.words.length) throw new FindError(`\`${this.peek()}\` was not expected here`);
    return expression;
  }

  private or(): Expression {
    let left = this.and();
    while (this.takes('or')) left = { kind: 'or', left, right: this.and() };
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.takes('and')) left = { kind: 'and', left, right: this.not() };
    return left;
  }

  private not(): Expression {
    if (this.takes('!') || this.takes('not')) return { kind: 'not', of: this.not() };
    if (this.takes('(')) {
      const inside = this.or();
      if (!this.takes(')')) throw new FindError('a `)` is missing');
      return inside;
    }
    return this.comparison();
  }

  private comparison(): Expression {
    const word = this.words[this.at++];
    if (word === undefined) throw new FindError('an operand is missing at the end');
    const lower = word.toLowerCase();
    const operand = ALIAS[lower] ?? lower;
    if (!(operand in EDGE) && !(operand in NODE)) {
      throw new FindError(`\`${word}\` is no operand: there are ${OPERANDS.join(', ')}`);
    }
    const operator = this.operator();
    if (operator === 'true') return { kind: 'is', operand, operator, value: '' };
    const value = this.words[this.at++];
    if (value === undefined) throw new FindError(`\`${word} ${operator}\` needs a value`);
    return { kind: 'is', operand, operator, value: value.replace(/^"(.*)"$/, '$1') };
  }

  private operator(): Operator {
    const word = this.peek().toLowerCase();
    const next = (this.words[this.at + 1] ?? '').toLowerCase();
    if (word === 'not' && next === 'contains') {
      this.at += 2;
      return '!*=';
    }
    const spelled: Record<string, Operator> = { contains: '*=', startswith: '^=', endswith: '$=' };
    const operator = spelled[word] ?? word;
    const known: Operator[] = ['=', '!=', '>', '>=', '<', '<=', '*=', '!*=', '^=', '$='];
    const found = known.find((it) => it === operator);
    if (!found) return 'true';
    this.at += 1;
    return found;
  }

  private peek(): string {
    return this.words[this.at] ?? '';
  }

  private takes(word: string): boolean {
    if (this.peek().toLowerCase() !== word) return false;
    this.at += 1;
    return true;
  }
}

function namesEdge(expression: Expression): boolean {
  if (expression.kind === 'is') return expression.operand in EDGE;
  if (expression.kind === 'not') return namesEdge(expression.of);
  return namesEdge(expression.left) || namesEdge(expression.right);
}

/// The ids of the nodes or edges that an expression selects.
export function select(found: Found, nodes: GraphNode[], edges: GraphEdge[]): Set<string> {
  if (found.target === 'node') {
    return new Set(nodes.filter((node) => holds(found.expression, [{ node }])).map((node) => node.id));
  }
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const ends = (edge: GraphEdge) =>
    [edge.source, edge.target].flatMap((id) => {
      const node = byId.get(id);
      return node ? [{ edge, node }] : [];
    });
  return new Set(edges.filter((edge) => holds(found.expression, ends(edge))).map((edge) => edge.id));
}

function holds(expression: Expression, subjects: Subject[]): boolean {
  switch (expression.kind) {
    case 'and':
      return holds(expression.left, subjects) && holds(expression.right, subjects);
    case 'or':
      return holds(expression.left, subjects) || holds(expression.right, subjects);
    case 'not':
      return !holds(expression.of, subjects);
    case 'is':
      return subjects.some((subject) => compare(expression, subject));
  }
}

function compare(is: Extract<Expression, { kind: 'is' }>, subject: Subject): boolean {
  const ofEdge = EDGE[is.operand];
  const value = ofEdge ? subject.edge && ofEdge(subject.edge) : NODE[is.operand]?.(subject.node);
  if (is.operator === 'true') return Array.isArray(value) ? value.length > 0 : Boolean(value);
  if (is.value === 'NaN') return (value === undefined) === (is.operator === '=');
  const negated = is.operator === '!=' || is.operator === '!*=';
  if (Array.isArray(value)) {
    const one = (item: string) => test(item, is.operator, is.value);
    return negated ? value.every(one) : value.some(one);
  }
  return value === undefined ? negated : test(value, is.operator, is.value);
}

function test(value: string | number | boolean, operator: Operator, wanted: string): boolean {
  const text = String(value).toLowerCase();
  const sought = wanted.toLowerCase();
  const [one, other] = [Number(value), Number(wanted)];
  const numeric = typeof value === 'number';
  switch (operator) {
    case '=':
      return numeric ? one === other : text === sought;
    case '!=':
      return numeric ? one !== other : text !== sought;
    case '>':
      return one > other;
    case '>=':
      return one >= other;
    case '<':
      return one < other;
    case '<=':
      return one <= other;
    case '*=':
      return text.includes(sought);
    case '!*=':
      return !text.includes(sought);
    case '^=':
      return text.startsWith(sought);
    case '$=':
      return text.endsWith(sought);
    case 'true':
      return Boolean(value);
  }
}
