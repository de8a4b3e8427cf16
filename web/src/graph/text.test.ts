import { describe, expect, it } from 'vitest';

import { edge, node } from '../lib/fixtures';
import type { DecisionRecord } from '../lib/types';
import { ago, asTest, callOf, caller, explainCommand, explainLink, label, proposeLink, quoted, rate, sentence, LABELS, USUAL_LABELS } from './text';

const web = node('web');
const api = node('api', { version: 'v2' });
const all = USUAL_LABELS.split(',');

const record: DecisionRecord = {
  requestId: '1',
  time: '2027-01-15T08:00:00Z',
  source: { principal: 'spiffe://cluster.local/ns/shop/sa/web', address: '10.244.0.2' },
  destination: { address: '10.244.0.3', port: 8080 },
  method: 'DELETE',
  host: 'api.shop:8080',
  path: '/orders/1',
  verdict: 'deny',
  reason: 'denied',
  policy: 'ns[shop]-policy[no]-rule[0]',
  generation: 3,
  responseCode: 403,
};
const denied = edge(web, api, {
  verdict: 'denied',
  traffic: { ...edge(web, api).traffic, count: 3 },
  denials: [{ policy: 'no', namespace: 'shop', rule: 0, reason: 'denied', count: 3 }],
  lastDenied: [record],
});
const refused = edge(node('10.244.0.9', { kind: 'address', namespace: '', version: '' }), api, {
  verdict: 'refused',
  traffic: { ...edge(web, api).traffic, count: 2 },
  sourcePrincipals: [],
  refusal: { reason: 'plaintext', address: '10.244.0.9', port: 8080 },
});

describe('an edge in words', () => {
  it('tells of a call that went through', () => {
    expect(sentence(edge(web, api), web, api)).toBe('web v1 → api v2 · 60 requests, 1/s · p95 8 ms · mTLS 100 %');
    expect(label(edge(web, api), all)).toEqual(['1/s · 8 ms']);
    expect(label(edge(web, api), [])).toEqual([]);
    expect(label(edge(web, api), LABELS)).toEqual(['1/s · p50 3 ms · p95 8 ms', 'p99 9 ms · 400 B/s']);
  });

  it('tells why a call was denied, with its policy', () => {
    expect(sentence(denied, web, api)).toBe(
      'web v1 → api v2 · DELETE /orders/1 · 3 denied: no.shop rule 0 · mTLS 100 %',
    );
    expect(label(denied, all)).toEqual(['3 denied', 'no.shop rule 0']);
    const nobody = { ...denied, denials: [{ policy: '', namespace: '', rule: null, reason: 'no_allow_matched', count: 3 }] };
    expect(label(nobody, all)[1]).toBe('no ALLOW rule matched');
  });

  it('tells who came without TLS', () => {
    expect(label(refused, all)).toEqual(['plaintext refused (STRICT)', '10.244.0.9 · 2×']);
    expect(sentence(refused, undefined, api)).toContain('2× from 10.244.0.9 to port 8080');
  });

  it('is a command and a test', () => {
    expect(explainCommand(callOf(denied, api))).toBe(
      'palisade explain --from shop/web --to api.shop --method DELETE --path /orders/1 --host api.shop:8080 --port 8080',
    );
    expect(callOf(refused, api).from).toBe('none');
    const tcp = edge(web, api, { protocols: ['tcp'] });
    expect(explainCommand(callOf(tcp, api))).toBe('palisade explain --from shop/web --to api.shop --tcp');
    expect(explainLink(callOf(tcp, api))).toMatch(/&tcp=on$/);
    const proposed = proposeLink(callOf(denied, api));
    expect(proposed).toMatch(/^\/istio\?propose=on&from=shop%2Fweb&to=api.shop&method=DELETE/);
    expect(proposeLink(explainLink(callOf(denied, api)).split('?')[1] ?? '')).toBe(proposed);
    const probe = asTest(denied, web, api);
    expect(probe).toContain('from: deploy/web.shop');
    expect(probe).toContain('to: "http://api.shop:8080/orders/1"');
    expect(probe).toContain('expect: {verdict: deny, policy: no.shop}');
  });
});

it.each([
  ['spiffe://td/ns/a/sa/b', 'a/b'],
  [null, 'none'],
  ['unknown', 'none'],
])('names the caller %s', (principal, name) => expect(caller(principal)).toBe(name));

it.each([
  ['/a?b', `'/a?b'`],
  ["it's", `'it'\\''s'`],
  ['/plain-1.2', '/plain-1.2'],
])('quotes %s for a shell', (word, text) => expect(quoted(word)).toBe(text));

it.each([
  [0, '0/s'],
  [0.01, '0.6/min'],
  [1.234, '1.2/s'],
  [1234, '1234/s'],
])('writes the rate %d', (value, text) => expect(rate(value)).toBe(text));

it.each([
  [-5, '0 seconds'],
  [1000, '1 second'],
  [119_000, '119 seconds'],
  [150_000, '3 minutes'],
  [6 * 3_600_000, '6 hours'],
])('tells how long %d ms are', (ms, text) => expect(ago(ms)).toBe(text));
