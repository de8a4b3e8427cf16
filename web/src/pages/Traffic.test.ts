import { expect, it } from 'vitest';

import { explainLink } from '../graph/text';
import type { CallView } from '../lib/types';
import { askedOf, matches, ruleOf } from './Traffic';

const none = { namespace: '', workload: '', verdict: '', code: '', path: '' };
const side = (namespace: string, workload: string) => ({ namespace, workload, app: workload, version: 'v1' });
const view: CallView = {
  number: 1,
  pod: { namespace: 'shop', pod: 'api-1' },
  source: side('web', 'frontend'),
  target: side('shop', 'api'),
  call: {
    requestId: '',
    time: '2027-01-15T08:00:00Z',
    source: { principal: 'spiffe://cluster.local/ns/web/sa/frontend', address: '10.0.0.1' },
    destination: { address: '10.0.0.2', port: 8080 },
    method: 'POST',
    host: 'api.shop:8080',
    path: '/pay',
    verdict: 'deny',
    reason: 'denied',
    policy: 'ns[shop]-policy[closed]-rule[0]',
    generation: 3,
    responseCode: 403,
  },
};

it('filters hold together, and for places at either side', () => {
  const cases: [Partial<typeof none>, boolean][] = [
    [{}, true],
    [{ namespace: 'web' }, true],
    [{ namespace: 'shop', workload: 'api' }, true],
    [{ workload: 'intruder' }, false],
    [{ verdict: 'denied', code: '4xx', path: '/p' }, true],
    [{ verdict: 'allowed' }, false],
    [{ code: '5' }, false],
    [{ code: '403' }, true],
    [{ path: '/other' }, false],
  ];
  for (const [filter, expected] of cases) expect(matches(view, { ...none, ...filter }), JSON.stringify(filter)).toBe(expected);
});

it('each call leads to its explanation', () => {
  expect(explainLink(askedOf(view))).toBe('/policy?from=web%2Ffrontend&to=api.shop&method=POST&path=%2Fpay&host=api.shop%3A8080&port=8080');
  expect(explainLink(askedOf({ ...view, call: { ...view.call, method: '', host: null, path: '', source: { principal: null, address: '10.0.0.9' } } }))).toContain('from=none');
});

it('a rule is named as people say it', () => {
  expect(ruleOf('ns[shop]-policy[a-b]-rule[12]')).toBe('a-b.shop rule 12');
  expect(ruleOf(null)).toBe(null);
});
