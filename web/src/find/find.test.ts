import { describe, expect, it } from 'vitest';

import { edge, node } from '../lib/fixtures';
import { FindError, parse, select } from './find';

const web = node('web');
const api = node('api', { version: 'v2' });
const intruder = node('intruder', { namespace: 'outside' });
const denial = { policy: 'no-intruders', namespace: 'shop', rule: 0, reason: 'denied', count: 3 };
const calls = edge(web, api);
const slow = edge(api, web, {
  id: 'slow',
  traffic: { ...calls.traffic, p95Ms: 1200, errorPercent: 50 },
  lock: { state: 'partly', percent: 60 },
});
const denied = edge(intruder, api, { id: 'denied', verdict: 'denied', denials: [denial] });
const nodes = [web, api, intruder];
const edges = [calls, slow, denied];

function found(text: string): string[] {
  const expression = parse(text);
  return expression ? [...select(expression, nodes, edges)] : [];
}

describe('find', () => {
  it.each([
    ['name = web', [web.id]],
    ['name != web', [api.id, intruder.id]],
    ['ns = outside', [intruder.id]],
    ['name *= tru', [intruder.id]],
    ['name not contains tru', [web.id, api.id]],
    ['name startswith a', [api.id]],
    ['name endswith "b"', [web.id]],
    ['! app = web', [api.id, intruder.id]],
    ['verdict = denied', ['denied']],
    ['policy = no-intruders', ['denied']],
    ['plaintext', ['slow']],
    ['mtls < 100', ['slow']],
    ['rt > 1000', ['slow']],
    ['%httperr >= 50', ['slow']],
    ['principal contains sa/intruder', ['denied']],
    ['verdict = denied and name = api', ['denied']],
    ['verdict = denied and name = web', []],
  ])('%s', (text, ids) => expect(found(text)).toEqual(ids));

  it('binds NOT before AND before OR, and parentheses change that', () => {
    expect(found('name = web OR name = api AND version = v1')).toEqual([web.id]);
    expect(found('(name = web OR name = api) AND version = v1')).toEqual([web.id]);
    expect(found('(name = web OR name = api) AND version = v2')).toEqual([api.id]);
    expect(found('NOT name = web AND version = v1')).toEqual([intruder.id]);
    expect(found('NOT (name = web AND version = v1)')).toEqual([api.id, intruder.id]);
  });

  it.each(['colour = red', 'name =', '(name = web', 'name = web)', 'name = web name = api', 'AND'])(
    'says what is wrong with %s',
    (text) => expect(() => parse(text)).toThrow(FindError),
  );

  it('finds nothing with nothing', () => expect(parse('  ')).toBeNull());
});
