// Looks at the console of a running mesh as a person does. `LINK` is a login link, `OUT` the folder for
// screenshots, `PALISADE` the binary and `STATE` the state directory. The mesh is examples/poc-mesh with traffic of all kinds; crates/palisade/tests/console.rs makes it.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { expect, look, open } from './browser.mjs';

const { LINK: link, OUT: folder, PALISADE: binary, STATE: state } = process.env;
if (!link || !folder || !binary || !state) throw new Error('set LINK, OUT, PALISADE and STATE');
const palisade = (input, ...args) => spawnSync(binary, ['--state-dir', state, ...args], { encoding: 'utf8', input });

/// Keys that are there, and keys that can't be: the control plane never asks its own machine.
const TOKENS = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: poc-mesh}
spec:
  selector: {matchLabels: {app: backend}}
  jwtRules:
  - {issuer: 'https://idp.example', jwks: '{"keys": [{"kid": "k1", "kty": "EC", "crv": "P-256", "alg": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'}
  - {issuer: 'https://away.example', audiences: [shop], jwksUri: 'https://127.0.0.1/keys'}
`;

const session = await open(link, folder);
const { browser, page, problems, origin } = session;
const check = (what, holds) => expect(problems, what, holds);

try {
  const again = await page.request.get(link, { headers: { cookie: '' } });
  check('the link logs nobody in a second time', again.status() === 401 || again.url() === `${origin}/`);

  await page.goto(`${origin}/graph?type=workload`);
  const row = (...texts) => texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator('table.edges tbody tr'));
  await row('frontend', 'backend', 'allowed').first().waitFor({ timeout: 30_000 });
  await row('intruder', 'refused').first().waitFor({ timeout: 30_000 });
  await page.locator('.call.denied .cap').nth(1).waitFor({ timeout: 30_000 });
  check('frontend reaches backend under mTLS', (await row('frontend', 'backend', 'allowed').first().innerText()).includes('mTLS'));
  check('payments is denied by its policy', (await row('payments', 'backend', 'denied', 'backend-deny-payments-example').count()) === 1);
  check('frontend is denied what no ALLOW rule matches', (await row('frontend', 'backend', 'denied', 'no ALLOW rule matched').count()) === 1);
  check('the intruder is refused for plaintext', (await row('intruder', 'refused', 'plaintext refused (STRICT)').count()) === 1);
  check('the allowed call has a closed lock on the drawing', (await page.locator('.tag.allowed .lock-mtls').count()) > 0);
  check('a denied call ends in a cap before its target', (await page.locator('.call.denied .cap').count()) >= 2);
  const half = page.locator('.tag.refused').first();
  check("the half-edge shows the caller's address", /\d+\.\d+\.\d+\.\d+/.test(await half.innerText()));
  const hover = await page.locator('.tag.denied').filter({ hasText: 'backend-deny-payments-example' }).getAttribute('title');
  check(`hover text: ${hover}`, /payments.* → backend.* denied: backend-deny-payments-example\.poc-mesh rule 0 · mTLS 100 %/.test(hover ?? ''));
  check('the target counts what it blocked', /\d+ blocked/.test(await page.locator('.node .chip').first().innerText()));
  await look(session, 'graph');

  await row('payments', 'denied').getByRole('button').first().press('Enter');
  const panel = page.getByRole('complementary', { name: 'Details' });
  await panel.getByRole('button', { name: 'Why denied?' }).click();
  await panel.locator('.why').filter({ hasText: 'backend-deny-payments-example' }).waitFor({ timeout: 10_000 });
  check('the panel lists the last denied calls', (await panel.locator('.calls li').count()) > 0);
  check('it can be linked to', new URL(page.url()).searchParams.get('selected')?.includes('denied') === true);
  await look(session, 'graph-panel');

  await page.getByRole('combobox', { name: /^Find/ }).fill('verdict = denied AND (name = payments OR name = nobody)');
  await page.locator('table.edges tr.found').first().waitFor();
  check('find selects one edge', (await page.locator('table.edges tr.found').count()) === 1);
  await page.getByRole('combobox', { name: /^Hide/ }).fill('verdict != allowed');
  await page.locator('table.edges tbody tr.denied').first().waitFor({ state: 'detached' });
  check('hide leaves what was allowed', (await page.locator('table.edges tbody tr').count()) >= 1);

  await page.goto(`${origin}/graph?type=workload&namespaces=outside`);
  await row('intruder', 'refused').first().waitFor({ timeout: 15_000 });
  check('a namespace shows what touches it and nothing else', (await page.locator('table.edges tbody tr.allowed').count()) === 0);
  await page.locator('summary').filter({ hasText: 'Namespaces: outside' }).click();
  await page.getByRole('checkbox', { name: 'poc-mesh' }).check();
  await row('frontend', 'backend', 'allowed').first().waitFor({ timeout: 15_000 });
  check('several namespaces can be chosen', new URL(page.url()).searchParams.get('namespaces') === 'outside,poc-mesh');
  await page.locator('summary').filter({ hasText: 'Labels: rate, errors, p95' }).click();
  for (const name of ['p50', 'p99', 'throughput']) await page.getByRole('checkbox', { name }).check();
  await page.locator('.tag.allowed').filter({ hasText: /p50 .* p95 .*p99 .* B\/s/s }).first().waitFor({ timeout: 15_000 });
  check('all numbers can stand on the edges', new URL(page.url()).searchParams.get('labels') === 'rate,errors,p50,p95,p99,throughput');
  await page.screenshot({ path: `${folder}/graph-labels.png` });
  await page.keyboard.press('Escape');
  check('Escape closes a menu', (await page.locator('details[open]').count()) === 0);
  await page.getByRole('checkbox', { name: 'animation' }).check();
  await page.locator('.call .dots').nth(2).waitFor({ state: 'attached', timeout: 15_000 });
  await page.getByRole('checkbox', { name: 'animation' }).uncheck();
  await page.locator('summary').filter({ hasText: 'Export' }).click();
  for (const [kind, sign] of [['PNG', '\x89PNG'], ['SVG', '<svg'], ['JSON', '{']]) {
    const saved = page.waitForEvent('download');
    await page.getByRole('button', { name: kind, exact: true }).click();
    const content = readFileSync(await (await saved).path(), 'latin1');
    check(`the graph is saved as ${kind}`, content.startsWith(sign) && (kind === 'PNG' || content.includes('backend')));
  }
  await page.getByRole('heading', { name: 'Graph', exact: true }).click();
  check('a press elsewhere closes a menu', (await page.locator('details[open]').count()) === 0);
  await page.getByRole('button', { name: 'Play' }).click();
  await page.getByText(/^As of /).waitFor();
  const moment = () => new URL(page.url()).searchParams.get('at');
  const first = moment();
  await page.waitForFunction((old) => new URL(location.href).searchParams.get('at') !== old, first);
  check('the past can be played', Number(moment()) > Number(first) || moment() === null);
  if (moment() !== null) await page.getByRole('button', { name: 'Go live' }).click();
  await page.getByText('Live', { exact: true }).waitFor();

  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  const changed = page.locator('table.changes tbody tr');
  await changed.filter({ hasText: 'backend' }).first().waitFor({ timeout: 15_000 });
  const rows = await changed.allInnerTexts();
  check('what came since the begin is told, with the numbers of both times', rows.length >= 4 && rows.every((it) => /^came[^]*none[^]*\d+×/.test(it)));
  await page.locator('.tag').filter({ hasText: /came.*0 → \d+ call/s }).first().waitFor({ timeout: 15_000 });
  const address = new URL(page.url());
  check('both times can be linked to', Number(address.searchParams.get('against')) > 0);
  await look(session, 'graph-difference');
  address.searchParams.set('at', address.searchParams.get('against'));
  await page.goto(address.href);
  await page.getByRole('heading', { name: /^No difference between/ }).waitFor({ timeout: 15_000 });
  await page.getByRole('button', { name: 'Stop comparing' }).click();
  await page.goto(`${origin}/graph?type=workload&at=${Date.now()}`);
  await row('frontend', 'backend', 'allowed').first().waitFor({ timeout: 15_000 });
  await page.route('**/api/graph?*', (route) => route.fulfill({ status: 502, body: '{"error": "the mesh is away"}' }));
  await page.getByLabel('Time range').selectOption('1800');
  await page.getByRole('alert').filter({ hasText: 'the mesh is away' }).waitFor({ timeout: 10_000 });
  await page.getByText(/What is shown below is older: the graph as of/).waitFor();
  check('a graph that can not be loaded leaves the one before, greyed', (await page.locator('.stale table.edges tbody tr').count()) >= 4);
  await page.screenshot({ path: `${folder}/graph-stale.png` });
  await page.unroute('**/api/graph?*');
  const asked = problems.findIndex((it) => it.includes('502'));
  check('the browser told of the failure that was made', asked >= 0);
  problems.splice(asked, 1);

  await page.goto(`${origin}/policy`);
  await page.getByLabel('Caller').fill('poc-mesh/payments-sa');
  await page.getByLabel('Workload or service').fill('backend.poc-mesh');
  await page.getByLabel('Path').fill('/api/orders');
  await page.getByRole('button', { name: 'Explain', exact: true }).click();
  await page.locator('.big.denied').waitFor({ timeout: 10_000 });
  check('the tester says which policy denies', (await page.locator('.answer').innerText()).includes('backend-deny-payments-example'));
  await look(session, 'policy');

  await page.goto(`${origin}/istio?object=AuthorizationPolicy/poc-mesh/backend-allow-frontend-read&workload=backend.poc-mesh`);
  await page.locator('.yaml pre').waitFor({ timeout: 10_000 });
  await page.locator('.layers li').first().waitFor({ timeout: 10_000 });
  const config = await page.locator('main').innerText();
  for (const name of ['backend-allow-frontend-read', 'backend-deny-payments-example', 'namespace-deny-all', 'default']) {
    check(`the list has ${name}`, config.includes(name));
  }
  check('the YAML is that of the policy', (await page.locator('.yaml pre').innerText()).includes('cluster.local/ns/poc-mesh/sa/frontend-sa'));
  check('each object is validated', (await page.locator('.valid').count()) >= 4);
  await look(session, 'istio');

  await page.goto(`${origin}/mesh`);
  await page.getByText('in force').first().waitFor({ timeout: 10_000 });
  await page.locator('progress').first().waitFor({ timeout: 10_000 });
  check('three sidecars have their configuration in force', (await page.getByText('✓ in force').count()) === 3);
  await page.getByRole('heading', { name: 'Root certificate' }).waitFor({ timeout: 10_000 });
  check('their certificates are shown, and the root', (await page.locator('progress').count()) === 4);
  check('the root is named by its fingerprint', /SHA-256 [0-9a-f:]{64,}/i.test(await page.locator('.cards').innerText()));
  check('events tell of pods', (await page.locator('table.events tbody tr').filter({ hasText: 'Pod/' }).count()) > 0);
  await look(session, 'mesh');

  await page.goto(`${origin}/workloads`);
  const listed = (name) => page.locator('main tbody tr').filter({ hasText: name });
  await listed('backend').getByText('healthy').waitFor({ timeout: 15_000 });
  check('denials do not make the backend look ill', /healthy/.test(await listed('backend').innerText()) && /blocked/.test(await listed('backend').innerText()));
  await look(session, 'workloads');
  await listed('backend').getByRole('link').first().press('Enter');
  await page.getByRole('heading', { name: 'Identity' }).waitFor({ timeout: 10_000 });
  await page.locator('.serial').filter({ hasText: /[0-9a-f]{8}/ }).first().waitFor({ timeout: 15_000 });
  await page.getByText('Asking the engine.').first().waitFor({ state: 'detached', timeout: 15_000 });
  const overview = await page.locator('main').innerText();
  check('the workload has its identity', overview.includes('ns/poc-mesh/sa/backend-sa'));
  check('it says which PeerAuthentication decides', /STRICT by default/.test(overview));
  check('it says when the certificate is renewed', /in about \d+ h/.test(overview));
  await look(session, 'workload');

  await page.getByRole('tab', { name: 'Overview' }).press('ArrowRight');
  const matrix = page.locator('table.access').first();
  await matrix.waitFor({ timeout: 15_000 });
  const cells = async (caller) => (await matrix.locator('tbody tr').filter({ hasText: caller }).innerText()).replaceAll(/\s+/g, ' ');
  check(`frontend may read: ${await cells('frontend-sa')}`, (await cells('frontend-sa')).includes('allowed'));
  check('payments may nothing', !(await cells('payments-sa')).includes('allowed'));
  check('plaintext may nothing', !(await cells('plaintext')).includes('allowed'));
  await look(session, 'workload-access');

  await page.getByRole('tab', { name: 'Metrics' }).click();
  await page.locator('.chart canvas').nth(2).waitFor({ timeout: 10_000 });
  await page.locator('.chart .legend li').filter({ hasText: 'denied: at most' }).first().waitFor({ timeout: 10_000 });
  check('charts tell of denials', true);
  await look(session, 'workload-metrics');

  await page.getByRole('tab', { name: 'Logs' }).click();
  await page.getByLabel('Container').selectOption('istio-proxy');
  await page.locator('pre.log').filter({ hasText: '/api/orders' }).waitFor({ timeout: 15_000 });
  check("the sidecar's log is shown", true);
  await look(session, 'workload-logs');

  await page.getByRole('tab', { name: 'Configuration' }).click();
  await page.locator('pre.log').filter({ hasText: 'backend-deny-payments-example' }).waitFor({ timeout: 10_000 });
  check('the configuration in force is told', /Generation \d+ is in force/.test(await page.locator('main').innerText()));
  await look(session, 'workload-config');
  await page.getByRole('tab', { name: 'Traffic' }).click();
  await page.getByRole('heading', { name: /Inbound/ }).waitFor();
  await look(session, 'workload-traffic');

  await page.goto(`${origin}/services`);
  await listed('backend').first().waitFor({ timeout: 10_000 });
  await look(session, 'services');
  await listed('backend').first().getByRole('link').first().click();
  await page.getByRole('heading', { name: 'Behind it' }).waitFor();
  await look(session, 'service');
  await page.goto(`${origin}/namespaces`);
  await listed('poc-mesh').first().waitFor({ timeout: 10_000 });
  await look(session, 'namespaces');

  await page.goto(`${origin}/traffic`);
  await page.locator('.calls-table tbody tr.denied').first().waitFor({ timeout: 15_000 });
  check('the tap has all verdicts', (await page.locator('.calls-table tr.refused').count()) > 0 && (await page.locator('.calls-table tr.allowed').count()) > 0);
  await look(session, 'traffic');
  await page.getByLabel('Verdict').selectOption('denied');
  await page.locator('.calls-table tbody tr.allowed').first().waitFor({ state: 'detached' });
  await page.getByLabel('Workload').fill('payments');
  await page.locator('.calls-table tbody tr').filter({ hasText: 'payments' }).first().getByRole('link', { name: 'Explain' }).click();
  await page.locator('.big.denied').waitFor({ timeout: 10_000 });
  check('a call leads to its explanation', (await page.locator('.answer').innerText()).includes('backend-deny-payments-example'));
  await page.getByRole('link', { name: 'Create policy allowing this' }).click();
  await page.locator('.propose .big.denied').filter({ hasText: 'DENY policies go before ALLOW policies' }).waitFor({ timeout: 10_000 });
  check('what a DENY policy denies gets no ALLOW policy', (await page.locator('.propose textarea').count()) === 0);

  await page.goto(`${origin}/traffic?workload=frontend&verdict=denied`);
  await page.locator('.calls-table tbody tr').filter({ hasText: 'DELETE' }).first().getByRole('link', { name: 'Create policy allowing this' }).click();
  await page.locator('.propose .big.allowed').filter({ hasText: 'DELETE /api/orders' }).waitFor({ timeout: 10_000 });
  const opened = page.locator('.flips tbody tr').filter({ hasText: 'DELETE' }).first();
  await opened.waitFor({ timeout: 15_000 });
  check('the proposed policy allows the call, and no other', /denied\s+allowed/.test(await opened.innerText()) && (await page.locator('.flips tbody tr').count()) === 1);
  check('it is an entry more in the policy that nearly matched', /- DELETE/.test(await page.getByLabel('YAML', { exact: true }).inputValue()));
  await look(session, 'propose');

  await page.goto(`${origin}/istio?object=AuthorizationPolicy/poc-mesh/backend-allow-frontend-read`);
  await page.getByRole('button', { name: 'Edit' }).click();
  const editor = page.getByLabel('YAML', { exact: true });
  const yaml = await editor.inputValue();
  await editor.fill(yaml.replace('action: ALLOW', 'action: ALOW'));
  await page.locator('.problem.error').waitFor({ timeout: 10_000 });
  check('a mistake is marked at its line', (await page.locator('.editor li.error').count()) === 1);
  check('and can not be applied', await page.getByRole('button', { name: 'Apply' }).isDisabled());
  await editor.fill(yaml.replace('sa/frontend-sa', 'sa/nobody-sa'));
  await page.locator('.flips tbody tr').filter({ hasText: 'frontend' }).first().waitFor({ timeout: 15_000 });
  check('the preview shows that frontend would be denied', /allowed\s+denied/.test(await page.locator('.flips tbody tr').filter({ hasText: 'frontend' }).first().innerText()));
  await page.locator('.edit .tag').filter({ hasText: 'would be denied' }).first().waitFor({ timeout: 15_000 });
  const ofHost = (host) => yaml.replace('methods:', `hosts: ['${host}']\n            methods:`);
  const outcome = (words) => page.locator('.outcome').filter({ hasText: words }).waitFor({ timeout: 15_000 });
  await editor.fill(ofHost('backend.poc-mesh'));
  await outcome(/none would get another answer\.$/);
  await editor.fill(ofHost('elsewhere.example'));
  await outcome(/[1-9]\d* would get another answer\.$/);
  const flip = page.locator('.flips tbody tr').filter({ hasText: 'GET backend.poc-mesh/api/orders' });
  check('what a host decides is told of recorded calls', (await flip.count()) > 0);
  await editor.fill(yaml.replace('sa/frontend-sa', 'sa/nobody-sa'));
  await page.locator('.edit .tag').filter({ hasText: 'would be denied' }).first().waitFor({ timeout: 15_000 });
  await page.locator('section[aria-busy=false] .flips').waitFor({ timeout: 15_000 });
  await look(session, 'edit');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.locator('.outcome').filter({ hasText: /In force in (\d+)\/\1 sidecars/ }).waitFor({ timeout: 30_000 });
  check('the change is in force in the sidecar concerned', true);

  await page.goto(`${origin}/tokens`);
  await page.getByRole('heading', { name: 'Nobody looks at tokens' }).waitFor({ timeout: 10_000 });
  const applied = palisade(TOKENS, 'apply', '--wait', '-f', '-');
  check(`tokens are looked at: ${applied.stderr}`, applied.status === 0);
  const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Authorization: Bearer a.b.c', 'http://backend.poc-mesh/api/orders'];
  check('a token that is none is refused', palisade('', 'exec', 'deploy/frontend.poc-mesh', '--', ...curl).stdout.trim() === '401');
  await page.locator('table.refusals tbody tr').filter({ hasText: /backend\.poc-mesh\s*401/ }).waitFor({ timeout: 15_000 });
  const issuer = async (name) => (await page.locator('table.issuers tbody tr').filter({ hasText: name }).innerText()).replaceAll(/\s+/g, ' ');
  check(`keys in the rule are named: ${await issuer('idp')}`, /backend\.poc-mesh any ✓ written in the rule – k1 ES256/.test(await issuer('idp')));
  check('keys that can not be fetched are told, and why', /✕ none.*127\.0\.0\.1.*which is not asked/.test(await issuer('away')));
  check('the command tells the same', /idp\.example .*INLINE[^]*away\.example .*MISSING/.test(palisade('', 'issuers').stdout));
  const sent = [];
  page.on('request', (request) => sent.push(request.url() + (request.postData() ?? '')));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = `${part({ alg: 'RS256', kid: 'k1' })}.${part({ iss: 'https://idp.example', sub: 'zoe', exp: 1 })}.c2ln`;
  await page.getByLabel(/^Token\./).fill(token);
  await page.getByText(/It expired at/).waitFor();
  check('a token is decoded', (await page.locator('main').innerText()).includes('"sub": "zoe"'));
  await look(session, 'tokens');
  check('and is sent to nobody', sent.every((it) => !it.includes(token.slice(0, 20))) && !page.url().includes('zoe'));
} finally {
  await browser.close();
}
for (const problem of problems) console.error(`FAIL ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);
