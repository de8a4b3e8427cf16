// Looks at the console of a running mesh as a person does. `LINK` is a login link, `OUT` the folder for
// screenshots. The mesh is examples/poc-mesh with traffic of all kinds; crates/palisade/tests/console.rs makes it.

import { expect, look, open } from './browser.mjs';

const { LINK: link, OUT: folder } = process.env;
if (!link || !folder) throw new Error('set LINK to a login link and OUT to a folder');

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
  check('their certificates are shown', (await page.locator('progress').count()) === 3);
  await look(session, 'mesh');
} finally {
  await browser.close();
}
for (const problem of problems) console.error(`FAIL ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);
