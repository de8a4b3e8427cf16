import { describe, expect, it } from 'vitest';

import { edge, node } from './fixtures';
import { refusals } from './refusals';
import { decode, faults } from './token';
import type { Graph, TokenIssuer } from './types';

const encoded = (value: unknown) => btoa(String.fromCharCode(...new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const token = (claims: unknown, header: unknown = { alg: 'RS256', kid: 'a' }) => `${encoded(header)}.${encoded(claims)}.c2ln`;
const issuer: TokenIssuer = {
  issuer: 'https://idp',
  policy: { namespace: 'shop', name: 'tokens' },
  audiences: ['shop'],
  workloads: ['api.shop'],
  keys: { state: 'fetched', keys: [{ kid: 'a', kty: 'RSA' }] },
};

describe('a token', () => {
  it('is decoded, as UTF-8', () => {
    const claims = { iss: 'https://idp', name: 'Zoë ✓', aud: ['shop'] };
    expect(decode(`Bearer ${token(claims)}\n`)).toEqual({ header: { alg: 'RS256', kid: 'a' }, claims });
  });

  it.each([
    ['', 'three parts'],
    ['a.b', 'this has 2'],
    ['a.b.c.d', 'this has 4'],
    ['!.e30.x', 'header'],
    [`${encoded('[1]')}.e30.x`, 'header'],
    [`${encoded({})}.${encoded('no')}.x`, 'payload'],
    [`${encoded({})}.${btoa('\xff\xfe').replace(/=+$/, '')}.x`, 'payload'],
  ])('that is none is told of: %s', (text, why) => expect(decode(text)).toContain(why));

  it.each<[string, object, object, Partial<TokenIssuer>, string[]]>([
    ['nothing', { iss: 'https://idp', aud: 'shop', exp: 40, nbf: 160 }, {}, {}, []],
    ['no end', { iss: 'https://idp', aud: 'shop', exp: 0 }, {}, {}, []],
    ['its end', { iss: 'https://idp', aud: 'shop', exp: 39 }, {}, {}, ['It expired']],
    ['its begin', { iss: 'https://idp', aud: ['x', 'shop'], nbf: 161 }, {}, {}, ['It is not valid before']],
    ['its issuer', { iss: 'https://other' }, {}, {}, ['No RequestAuthentication names its issuer `https://other`']],
    ['no issuer', {}, {}, {}, ['No RequestAuthentication names its issuer (it has none)']],
    ['its audience', { iss: 'https://idp', aud: 'web' }, {}, {}, ['None of its audiences is asked for by `tokens.shop`: 403']],
    ['any audience', { iss: 'https://idp' }, {}, { audiences: [] }, []],
    ['its key', { iss: 'https://idp', aud: 'shop' }, { kid: 'b' }, {}, ['No key of `tokens.shop` is called `b`']],
    ['a key without a name', { iss: 'https://idp', aud: 'shop' }, { kid: 'b' }, { keys: { state: 'inline', keys: [{}] } }, []],
    ['no keys', { iss: 'https://idp', aud: 'shop' }, {}, { keys: { state: 'missing', keys: null } }, ['There are no keys']],
    ['no signature', { iss: 'https://idp', aud: 'shop' }, { alg: 'none' }, {}, ['It is not signed']],
  ])('is judged by %s', (_, claims, header, rule, expected) => {
    const decoded = decode(token(claims, { alg: 'RS256', kid: 'a', ...header }));
    if (typeof decoded === 'string') throw new Error(decoded);
    const said = faults(decoded, [{ ...issuer, ...rule }], 100);
    expect(said).toHaveLength(expected.length);
    expected.forEach((begin, index) => expect(said[index]?.startsWith(begin), said[index]).toBe(true));
  });
});

it('refusals of workloads that look at tokens are counted by reason', () => {
  const [web, api, other] = [node('web'), node('api'), node('other')];
  const traffic = (codes: Record<string, number>) => ({ traffic: { ...edge(web, api).traffic, codes } });
  const denials = [
    { policy: 'no', namespace: 'shop', rule: 0, reason: 'denied', count: 3 },
    { policy: '', namespace: '', rule: null, reason: 'no_allow_matched', count: 9 },
  ];
  const graph: Graph = {
    atMs: 1,
    rangeMs: 1,
    sinceMs: 1,
    lost: 0,
    nodes: [web, api, other],
    edges: [edge(web, api, traffic({ 200: 5, 401: 4, 403: 1 })), edge(other, api, traffic({ 401: 2 })), edge(web, api, { verdict: 'denied', denials }), edge(web, other, traffic({ 401: 7 }))],
  };
  expect(refusals(graph, new Set(['api.shop'])).map(({ code, reason, count }) => [code, reason.split(',')[0], count])).toEqual([
    [403, 'no ALLOW rule matched', 9],
    [401, 'token refused', 6],
    [403, 'no.shop rule 0', 3],
    [403, 'token for another audience', 1],
  ]);
  expect(refusals(graph, new Set())).toEqual([]);
});
