// What each role is there for, end to end, on a running demonstration with its months of activity.
//
//   node roles.mjs MODULES CONSOLE_URL PICTURES FACTS
//
// FACTS is JSON: `concordat`, the program with which a signatory signs as on their own machine, and `state`, the demonstration's folder
// with their key.
import { execFileSync } from 'node:child_process';
import { start } from './journey.mjs';

const { base, facts, as, check, is, says, go, press, run } = await start();
const saved = async (page, button) => {
  const [file] = await Promise.all([page.waitForEvent('download'), button.click()]);
  return file.path();
};

const journeys = {
  'a reviewer says whether an emergency was right': async () => {
    const page = await as('GMFRS-REV-1');
    await page.getByRole('link', { name: 'Emergencies to review' }).click();
    await page.locator('tr', { hasText: 'Open' }).getByRole('link').first().click();
    for (const words of ['What was declared', 'Immediate risk to life', 'What was asked under it']) await says(page, words);
    await page.getByLabel('It was right').check();
    await page.fill('#note', 'The incident log and the crew agree.');
    await press(page, 'Close the alert');
    await says(page, 'It was right, by GMFRS-REV-1');
    await check(page, 'demo-emergency');
  },
  'a Caldicott Guardian decides a one-off disclosure': async () => {
    const page = await as('TRF-CG-1');
    await page.getByRole('link', { name: 'Requests to decide' }).click();
    await page.locator('tr', { hasText: 'Requested' }).getByRole('link').first().click();
    await says(page, 'A safeguarding concern after a home visit');
    await press(page, 'I will decide it');
    await page.getByLabel('Why').first().fill('Section 42 duty; the harm of not sharing outweighs the intrusion.');
    await page.locator('input[name=items][value="person.address:as-is"]').check();
    await page.selectOption('#article_6', '6(1)(c)');
    await page.selectOption('#article_9', 'none');
    await page.selectOption('#confidentiality', 'public-interest');
    await press(page, 'Allow it once');
    await says(page, 'cannot be taken back');
    await press(page, 'Yes, go on');
    await says(page, 'Granted');
    await check(page, 'demo-grant');
  },
  'an information governance officer comments on terms, and a colleague of the other side answers': async () => {
    const [one, other] = [await as('NHS-IG-1'), await as('GMFRS-IG-1')];
    await go(one, '/agreements/gm-hoarding-visits/talks');
    await one.getByText(/^Comment on a clause/).click();
    await one.selectOption('#comment-clause', { index: 1 });
    await one.fill('#comment-text', 'Whose list is this, and who keeps it up to date?');
    await one.selectOption('#comment-owner', 'gmca');
    await press(one, 'Comment');
    await says(one, 'Whose list is this');
    await other.goto(`${base}/`);
    await other.getByRole('link', { name: 'Comments to answer' }).click();
    await says(other, 'Whose list is this');
    const asked = other.locator('.app-item', { hasText: 'Whose list is this' });
    await asked.getByText('Answer it, or be content').click();
    await asked.locator('textarea').first().fill('The prevention team’s; it is gone through every month.');
    await asked.getByRole('button', { name: 'Answer', exact: true }).click();
    await says(other, 'it is gone through every month');
    await check(other, 'demo-comment');
  },
  'a signatory signs with their own key': async () => {
    const page = await as('GMFRS-SIRO-1');
    await go(page, '/agreements/gm-winter-warmth/signatures');
    const bytes = await saved(page, page.getByRole('link', { name: 'Download the bytes' }));
    const command = (await page.locator('pre').first().innerText()).trim().split(' ');
    const arguments_ = command.slice(1).map((part) => (part.endsWith('.json') ? bytes : part === 'your-key.pem' ? `${facts.state}/fire-siro.key` : part));
    const signature = execFileSync(facts.concordat, arguments_, { encoding: 'utf8' }).trim();
    await page.fill('#sign-signature', signature);
    await press(page, 'Hand it in');
    await says(page, 'Simon Hart (GMFRS-SIRO-1)');
    is(await page.locator('.govuk-tag', { hasText: 'Signed' }).count(), 1, 'signatures');
    await check(page, 'demo-signed');
  },
  'a data protection officer advises': async () => {
    const page = await as('GMFRS-DPO-1');
    await go(page, '/agreements/gm-hoarding-visits/signatures');
    await page.getByLabel('Yes: it is favourable').check();
    await page.fill('#advise-text', 'Proportionate, once it is kept for thirty days.');
    await press(page, 'Advise');
    await says(page, 'once it is kept for thirty days');
    await check(page, 'demo-advice');
  },
  'a mediator helps': async () => {
    const page = await as('TRF-MED-1');
    await go(page, '/agreements/gm-hoarding-visits/talks');
    await page.locator('table a[href*="/disputes/"]').first().click();
    await page.fill('#comment-text', 'What would thirty days make impossible?');
    await press(page, 'Say it');
    await says(page, 'What would thirty days make impossible?');
    await check(page, 'demo-dispute');
  },
  'a privacy officer looks a person up and records what they said': async () => {
    const page = await as('NHS-PO-1');
    await go(page, '/person');
    await page.fill('#value', '999 000 0018');
    await page.selectOption('#purpose', 'direct-care');
    await page.fill('#case_reference', 'IG-2026-114');
    await press(page, 'Look');
    await says(page, 'Who asked');
    await press(page, 'An objection or a restriction');
    await page.getByLabel('Restrict: keep').check();
    await page.fill('#grounds', 'The address is disputed.');
    await page.locator('input[name=who][value=person]').check();
    await page.getByLabel('In writing').check();
    await press(page, 'Record it');
    await says(page, 'In force');
    await check(page, 'demo-objection');
  },
  'an auditor approves a colleague’s export, follows a decision and proves it': async () => {
    const [one, other] = [await as('TRF-AUD-3'), await as('TRF-AUD-4')];
    await one.getByRole('link', { name: 'Exports to approve' }).click();
    await one.locator('tr', { hasText: 'Requested' }).getByRole('link').first().click();
    const path = new URL(one.url()).pathname;
    await press(one, 'Approve');
    await says(one, 'TRF-AUD-4, Trafford Council');
    await press(one, 'Yes, go on');
    await go(other, path);
    for (let turn = 0; turn < 60 && !(await other.locator('main').innerText()).includes('Download the file'); turn += 1) {
      await other.waitForTimeout(1_000);
      await other.reload();
    }
    await saved(other, other.getByRole('button', { name: 'Download the file' }));
    await go(one, '/trail?kind=release');
    await says(one, 'had asked');
    await one.getByRole('link', { name: /^The decision/ }).first().click();
    await saved(one, one.locator('a[href$="/evidence"]').first());
    await check(one, 'demo-decision');
  },
  'an operator looks after the ledger': async () => {
    const page = await as('TRF-OP-1');
    await go(page, '/ledger');
    await says(page, 'Newest checkpoint');
    await go(page, '/trail', 403);
  },
  'a resident reads who asked, objects, takes it back and complains': async () => {
    const page = await as('resident-1');
    await says(page, 'asked');
    await go(page, '/my-choices');
    await page.getByLabel('Stop it, and tell me').check();
    await page.getByLabel('Finding homes and people that a fire would harm most').check();
    await page.fill('#grounds', 'Nobody is to come to my house.');
    await press(page, 'Object');
    await says(page, 'You get an answer by');
    await page.getByRole('button', { name: /^I do not object any more/ }).first().click();
    await go(page, '/my-requests/new');
    await page.getByLabel('Complain about how').check();
    await page.fill('#text', 'I was not told.');
    await press(page, 'Send');
    await says(page, 'I was not told.');
    await check(page, 'demo-complaint');
    await go(page, '/alerts', 403);
  },
};

await run(journeys);
