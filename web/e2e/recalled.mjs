// Time ranges that begin before the console remembers, told by a real Prometheus. `LINK` is a login link, `OUT` the
// folder for screenshots; crates/palisade/tests/telemetry/prometheus.rs makes mesh, traffic and Prometheus.

import { expect, look, open } from './browser.mjs';

const { LINK: link, OUT: folder } = process.env;
if (!link || !folder) throw new Error('set LINK to a login link and OUT to a folder');

const session = await open(link, folder);
const { browser, page, problems, origin } = session;
const check = (what, holds) => expect(problems, what, holds);
const row = (...texts) => texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator('table.edges tbody tr'));
const source = page.getByText(/^Told by Prometheus at http:\/\/127\.0\.0\.1:\d+/);

try {
  await page.goto(`${origin}/graph?type=workload&namespaces=poc-mesh`);
  await page.getByText('Live', { exact: true }).waitFor({ timeout: 15_000 });
  check('what the console remembers names no other source', (await source.count()) === 0);
  await page.getByLabel('Time range').selectOption({ label: 'Last day' });
  await source.waitFor({ timeout: 30_000 });
  await row('frontend', 'backend', 'allowed').first().waitFor({ timeout: 15_000 });
  check('the allowed call is under mTLS', (await row('frontend', 'backend', 'allowed').first().innerText()).includes('mTLS'));
  check('payments is denied by its policy', (await row('payments', 'backend', 'denied', 'backend-deny-payments-example').count()) === 1);
  check('who was refused is counted, but not known', (await row('unknown', 'backend', 'refused', 'plaintext refused').count()) === 1);
  await page.locator('.tag.allowed .lock-mtls').first().waitFor({ timeout: 15_000 });
  await page.locator('.tag.refused').first().waitFor();
  check('it is not live', (await page.getByText('Live', { exact: true }).count()) === 0 && (await page.getByRole('button', { name: 'Play' }).isDisabled()));
  await look(session, 'recalled-graph');

  await page.goto(`${origin}/workloads/poc-mesh/backend?tab=metrics&range=2592000`);
  await page.locator('.chart canvas').nth(2).waitFor({ timeout: 30_000 });
  await source.waitFor({ timeout: 15_000 });
  for (const line of ['let through', 'denied', 'p95']) {
    const told = await page.locator('.chart .legend li').filter({ hasText: line }).first().innerText();
    check(`thirty days on the charts: ${told}`, /at most (?!0[/ ])\S+/.test(told));
  }
  await look(session, 'recalled-metrics');
} finally {
  await browser.close();
}
for (const problem of problems) console.error(`FAIL ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);
