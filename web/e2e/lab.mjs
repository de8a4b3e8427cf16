// The mTLS and AuthorizationPolicy lab as a person sees it: what is allowed, denied and refused, and a policy that
// is changed with a preview, which the live graph then matches. `PALISADE` is the binary, `STATE` the state
// directory of the mesh, `LINK` a login link, `OUT` the folder for screenshots; crates/palisade/tests/console.rs
// makes them.

import { spawnSync } from 'node:child_process';

import { expect, look, open } from './browser.mjs';

const { LINK: link, OUT: folder, PALISADE: palisade, STATE: state } = process.env;
if (!link || !folder || !palisade || !state) throw new Error('set LINK, OUT, PALISADE and STATE');

/// The status that a pod gets from the backend.
function call(pod) {
  const curl = ['curl', '-s', '-m', '10', '-o', '/dev/null', '-w', '%{http_code}', 'http://backend/'];
  return spawnSync(palisade, ['--state-dir', state, 'exec', pod, '--', ...curl], { encoding: 'utf8' }).stdout.trim();
}

const session = await open(link, folder);
const { browser, page, problems, origin } = session;
const check = (what, holds) => expect(problems, what, holds);
const row = (...texts) => texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator('table.edges tbody tr'));

try {
  const sent = Date.now();
  check('frontend is served', call('deploy/frontend') === '200');
  check('another identity is denied', call('test') === '403');
  check('plaintext is reset', call('intruder') === '000');

  await page.goto(`${origin}/graph?type=workload&namespaces=default`);
  await row('frontend', 'backend', 'allowed').first().waitFor({ timeout: 30_000 });
  console.log(`info the first call is on the graph ${Date.now() - sent} ms after it was made, three calls and a page later`);
  await row('test', 'backend', 'denied', 'no ALLOW rule matched').first().waitFor({ timeout: 30_000 });
  await row('intruder', 'refused', 'plaintext refused (STRICT)').first().waitFor({ timeout: 30_000 });
  check('the allowed call is under mTLS', (await row('frontend', 'backend', 'allowed').first().innerText()).includes('mTLS'));
  await page.locator('.tag.allowed').first().waitFor({ timeout: 15_000 });
  check('the allowed call has a closed lock on the drawing', (await page.locator('.tag.allowed .lock-mtls').count()) > 0);
  const half = page.locator('.tag.refused').first();
  await half.waitFor();
  check("the intruder's half-edge has its address", /\d+\.\d+\.\d+\.\d+/.test(await half.innerText()));
  const hover = await page.locator('.tag.denied').first().getAttribute('title');
  check(`hover text: ${hover}`, /test → backend · GET \/ · \d+ denied: no ALLOW rule matched · mTLS 100 %/.test(hover ?? ''));
  await look(session, 'lab-graph');

  // A request is on the graph soon after it was made: the count goes up.
  const number = async () => Number(/(\d+)×/.exec(await row('test', 'backend', 'denied').first().innerText())?.[1]);
  const before = await number();
  const begin = Date.now();
  call('test');
  const answered = Date.now();
  await page.waitForFunction(
    (old) => [...document.querySelectorAll('table.edges tbody tr.denied')].some((it) => it.textContent.includes('test') && Number(/(\d+)×/.exec(it.textContent)?.[1]) > old),
    before,
    { timeout: 15_000, polling: 50 },
  );
  console.log(`info a denied request was seen ${Date.now() - answered} ms after its answer, ${Date.now() - begin} ms after the command that sent it began`);

  const seen = page.evaluate(
    () =>
      new Promise((resolve) => {
        const events = new EventSource('/api/events?type=workload&range=300');
        let first = null;
        events.addEventListener('graph', (event) => {
          const calls = JSON.parse(event.data).edges.find((edge) => edge.verdict === 'allowed' && edge.source.includes('frontend'));
          first ??= calls?.traffic.count ?? null;
          if (calls === undefined || calls.traffic.count === first) return;
          events.close();
          resolve(Date.now());
        });
      }),
  );
  await page.waitForTimeout(500);
  call('deploy/frontend');
  const served = Date.now();
  console.log(`info an allowed request was told to the page ${(await seen) - served} ms after its answer`);

  await page.goto(`${origin}/istio`);
  const main = page.locator('main');
  await main.getByText('backend-allow-frontend').first().waitFor({ timeout: 10_000 });
  const config = await main.innerText();
  for (const name of ['deny-all', 'backend-allow-frontend', 'default']) check(`the list has ${name}`, config.includes(name));
  check('both AuthorizationPolicies are valid', (await page.locator('tbody tr').filter({ hasText: 'AuthorizationPolicy' }).locator('.valid.good').count()) === 2);

  await page.getByRole('button', { name: 'backend-allow-frontend' }).click();
  await page.getByRole('button', { name: 'Edit' }).click();
  const editor = page.getByLabel('YAML', { exact: true });
  const yaml = await editor.inputValue();
  await editor.fill(yaml.replace('sa/frontend-sa', 'sa/somebody-else'));
  const flip = page.locator('.flips tbody tr').filter({ hasText: 'frontend' }).first();
  await flip.waitFor({ timeout: 15_000 });
  check('the preview denies frontend', /allowed\s+denied/.test(await flip.innerText()));
  await page.locator('.edit .tag').filter({ hasText: 'would be denied' }).first().waitFor({ timeout: 15_000 });
  check('nothing is changed yet', call('deploy/frontend') === '200');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.locator('.outcome').filter({ hasText: /In force in (\d+)\/\1 sidecars/ }).waitFor({ timeout: 30_000 });
  check('now frontend is denied, as the preview said', call('deploy/frontend') === '403');
  await page.goto(`${origin}/graph?type=workload&namespaces=default`);
  await row('frontend', 'backend', 'denied', 'no ALLOW rule matched').first().waitFor({ timeout: 15_000 });
  check('and the live graph matches it', true);
  await look(session, 'lab-after');
} finally {
  await browser.close();
}
for (const problem of problems) console.error(`FAIL ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);
