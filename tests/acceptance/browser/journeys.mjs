// What people do in the console, in a real browser, and what attackers try.
//
//   node journeys.mjs MODULES CONSOLE_URL PICTURES FACTS
//
// FACTS is JSON: what the test put into the gateway beforehand. It says `ok NAME` or `FAILED NAME: …` for each journey, and
// `advance SECONDS` when time should pass; a line that is written to it means that it has.
import { start } from './journey.mjs';

const { base, pictures, facts, person, signIn, prove, check, advance, is, says, go, press, run } = await start();

const officer = 'ig-officer.trafford-council.TRF-IG-1';
const journeys = {
  'an officer sees what waits, and handles an alert': async () => {
    const page = await person();
    await go(page, '/');
    await check(page, 'start');
    await signIn(page, officer);
    await says(page, 'Alerts');
    await check(page, 'home');
    await page.getByRole('link', { name: 'Alerts', exact: true }).first().click();
    await check(page, 'alerts');
    await page.locator('table a').first().click();
    await check(page, 'alert');
    await press(page, 'I am looking at it');
    await says(page, 'Triaged');
    await press(page, 'Close the alert');
    await says(page, 'Say what you found');
    await check(page, 'alert-wrong');
    await page.getByLabel('It was right').check();
    await page.fill('#note', 'short');
    await press(page, 'Close the alert');
    await says(page, 'Say why in 10 to 2,000 characters');
    await page.fill('#note', '<script>window.broken = 1</script> looked at the call log');
    await press(page, 'Close the alert');
    await says(page, 'Closed');
    await check(page, 'alert-closed');
  },
  'an emergency is reviewed by somebody else': async () => {
    const page = await person();
    await signIn(page, 'practitioner-reviewer.gmca.GMFRS-REV-1');
    await go(page, '/reviews');
    await check(page, 'reviews');
    await page.locator('table a').first().click();
    await page.getByLabel('It was right').check();
    await page.fill('#note', 'The call log and the crew agree.');
    await press(page, 'Close the alert');
    await says(page, 'Closed');
    await go(page, '/ledger');
    await go(page, '/my-data', 403);
  },
  'a request is taken, asked about and granted': async () => {
    const page = await person();
    await signIn(page, 'caldicott-guardian.trafford-council.TRF-CG-1');
    await go(page, '/referrals');
    await check(page, 'referrals');
    await page.locator('table a').first().click();
    await press(page, 'I will decide it');
    await says(page, 'window.broken'); // as text
    await check(page, 'referral');
    await press(page, 'Allow it once');
    await says(page, 'Choose the lawful basis');
    await check(page, 'referral-wrong');
    await page.getByLabel('Why').first().fill('Section 42 duty; the harm of not sharing outweighs the intrusion.');
    await page.locator('input[name=items][value="person.address:as-is"]').check();
    await page.locator('input[name=items][value="health.home_oxygen:yes-no"]').check();
    await page.selectOption('#article_6', '6(1)(c)');
    await page.selectOption('#article_9', '9(2)(g)');
    await page.fill('#schedule_1', 'part 2 paragraph 18');
    await page.selectOption('#confidentiality', 'public-interest');
    await press(page, 'Allow it once');
    await says(page, 'Granted');
    await check(page, 'referral-granted');
  },
  'a decision is explained and proved': async () => {
    const page = await person();
    await signIn(page, 'auditor.trafford-council.TRF-AUD-3');
    await check(page, 'home-auditor');
    await go(page, '/trail');
    await check(page, 'trail-empty');
    await page.selectOption('#kind', 'release');
    await press(page, 'Search');
    await check(page, 'trail');
    await page.getByRole('link', { name: /^The decision/ }).first().click();
    await says(page, 'Verified');
    is(await page.locator('.app-seal--broken').count(), 0, 'broken seals');
    await check(page, 'decision');
    await page.emulateMedia({ media: 'print' });
    await page.screenshot({ path: `${pictures}/decision-print.png`, fullPage: true });
    await page.emulateMedia({ media: 'screen' });
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download the evidence pack' }).click()]);
    const chunks = []; for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    const pack = JSON.parse(Buffer.concat(chunks).toString());
    if (!pack.entries.length || !pack.entries.every((one) => one.proof.startsWith('c2sp.org/tlog-proof@v1'))) throw new Error('no proofs');
    await go(page, `/decisions/${facts.refused}`);
    await check(page, 'decision-refused');
    await go(page, '/ledger');
    await press(page, 'Verify it now');
    await says(page, 'The ledger is sound');
    await check(page, 'ledger');
    await go(page, '/flows');
    await check(page, 'pictures');
    await go(page, '/alerts', 403);
    await go(page, '/my-choices', 403);
    await check(page, 'forbidden');
    await go(page, '/nowhere', 404);
    await check(page, 'not-found');
    await go(page, '/decisions/dec_00000000000000000000000000000000', 404);
    await go(page, '/trail?from=yesterday', 400);
    await check(page, 'trail-wrong');
  },
  'an export takes two people': async () => {
    const one = await person();
    const other = await person();
    await signIn(one, 'auditor.trafford-council.TRF-AUD-3');
    await go(one, '/exports');
    await check(one, 'exports');
    await press(one, 'Ask');
    await says(one, 'Name the piece of work');
    await one.fill('#case_reference', 'AUDIT-2026-Q4');
    await press(one, 'Ask');
    await says(one, 'Nobody approves their own');
    await check(one, 'export');
    const path = new URL(one.url()).pathname;
    await signIn(other, 'auditor.trafford-council.TRF-AUD-4');
    await says(other, '1 waiting');
    await go(other, path);
    await check(other, 'export-to-approve');
    await press(other, 'Approve');
    for (let turn = 0; turn < 100 && !(await one.locator('main').innerText()).includes('Ready'); turn += 1) { await advance(1); await one.reload(); }
    await check(one, 'export-ready');
    const [file] = await Promise.all([one.waitForEvent('download'), one.getByRole('button', { name: 'Download the file' }).click()]);
    const chunks = []; for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    if (!Buffer.concat(chunks).toString().includes('log_opened')) throw new Error('it is not the ledger');
    await go(other, `${path}/file`, 403);
  },
  'agreements are read, compared and moved': async () => {
    const page = await person();
    await signIn(page, 'ig-officer.nhs-england.NHS-IG-1');
    await go(page, '/agreements');
    await check(page, 'agreements');
    await page.getByRole('link', { name: facts.in_file }).click();
    await check(page, 'agreement');
    await go(page, `/agreements/${facts.managed}`);
    await says(page, '<img src=x onerror=window.broken=1>');
    await check(page, 'agreement-managed');
    await page.selectOption('#step', 'activate');
    await press(page, 'Take it');
    await says(page, 'There is a problem');
    await check(page, 'agreement-wrong');
    await page.selectOption('#step', 'review');
    await press(page, 'Take it');
    await says(page, 'Reviewing');
    await go(page, `/agreements/${facts.managed}/diff?from=1&to=2`);
    await check(page, 'agreement-diff');
    const mediator = await person();
    await signIn(mediator, 'mediator.nhs-england.NHS-MED-1');
    await check(mediator, 'home-mediator');
    await go(mediator, '/agreements');
    await go(mediator, '/trail', 403);
  },
  'a person’s history needs a reason and a proof of who looks': async () => {
    const page = await person();
    await signIn(page, 'privacy-officer.nhs-england.NHS-PO-1');
    await advance(400);
    await page.goto(`${base}/person`);
    await prove(page, 'privacy-officer.nhs-england.NHS-PO-1');
    is(new URL(page.url()).pathname, '/person', 'back at');
    await check(page, 'person');
    await press(page, 'Look');
    await says(page, 'There is a problem');
    await check(page, 'person-wrong');
    await page.fill('#value', '973 211 0317');
    await page.selectOption('#purpose', 'direct-care');
    await page.fill('#case_reference', 'IG-2026-114');
    await press(page, 'Look');
    await says(page, 'Who asked');
    if ((await page.content()).includes('9732110317')) throw new Error('the page has the number');
    await check(page, 'person-found');
  },
  'an operator sees the ledger and nothing about anybody': async () => {
    const page = await person();
    await signIn(page, 'operator.trafford-council.TRF-OP-1');
    await check(page, 'home-operator');
    await go(page, '/ledger');
    is(await page.getByRole('button', { name: 'Verify it now' }).count(), 0, 'verify buttons');
    for (const path of ['/alerts', '/reviews', '/referrals', '/trail', '/person', '/exports', '/flows', '/my-data', `/decisions/${facts.refused}`]) await go(page, path, 403);
  },
  'a resident sees who asked, objects, and takes a consent back': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1.9732110317');
    await says(page, 'Greater Manchester Combined Authority');
    await check(page, 'my-data');
    await go(page, '/my-choices');
    await press(page, 'Object');
    await says(page, 'Choose what you object to');
    await check(page, 'my-choices-wrong');
    await page.getByLabel('Fire prevention targeting').check();
    await page.fill('#grounds', '<script>window.broken = 1</script> nobody is to come to my house');
    await press(page, 'Object');
    await says(page, 'You get an answer by');
    await check(page, 'my-choices');
    for (const path of ['/alerts', '/trail', '/person', '/agreements', '/ledger', '/exports', `/decisions/${facts.released}`]) await go(page, path, 403);
    const other = await person();
    await signIn(other, 'citizen.-.resident-3');
    await check(other, 'my-data-unmatched').catch((error) => { if (!/title/.test(String(error))) throw error; });
    await says(other, 'We could not match you');
  },
  'whoever has no role is told so': async () => {
    const page = await person();
    await page.goto(`${base}/sign-in`);
    await prove(page, 'nothing.trafford-council.TRF-9');
    await says(page, 'no role here');
    await check(page, 'no-role');
  },
  'it works without JavaScript': async () => {
    const page = await person({ javaScriptEnabled: false });
    await signIn(page, officer);
    await check(page, 'home-plain', { script: false }).catch((error) => { if (!/title/.test(String(error))) throw error; });
    await go(page, '/agreements');
    await go(page, '/trail?kind=release');
    await says(page, 'Newest first');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await says(page, 'session here has ended');
  },
  'the keyboard is enough': async () => {
    const page = await person();
    await signIn(page, officer);
    await page.keyboard.press('Tab');
    is(await page.evaluate(() => document.activeElement.className), 'govuk-skip-link', 'first in the order');
    await page.keyboard.press('Enter');
    const reached = new Set();
    for (let turn = 0; turn < 60; turn += 1) { await page.keyboard.press('Tab'); reached.add(await page.evaluate(() => document.activeElement?.getAttribute('href'))); }
    for (const path of ['/alerts', '/referrals', '/agreements', '/exports']) if (!reached.has(path)) throw new Error(`${path} is out of reach`);
  },
  'high contrast and dark are respected': async () => {
    const page = await person({ forcedColors: 'active', colorScheme: 'dark' });
    await signIn(page, officer);
    await page.screenshot({ path: `${pictures}/home-forced.png`, fullPage: true });
    await go(page, '/flows');
    await page.screenshot({ path: `${pictures}/pictures-forced.png`, fullPage: true });
  },
  'forms of other sites are not taken': async () => {
    const page = await person();
    await signIn(page, officer);
    const post = (headers, form) => page.request.post(`${base}/ledger/verify`, { headers, form, maxRedirects: 0 });
    const csrf = await page.locator('input[name=csrf]').first().inputValue();
    is((await post({}, {})).status(), 403, 'no token');
    is((await post({}, { csrf: `${csrf}x` })).status(), 403, 'another token');
    is((await post({ origin: 'https://evil.example' }, { csrf })).status(), 403, 'another site');
    is((await post({ 'sec-fetch-site': 'cross-site' }, { csrf })).status(), 403, 'another site, said by the browser');
    const other = await person();
    await signIn(other, 'auditor.trafford-council.TRF-AUD-3');
    const theirs = await other.locator('input[name=csrf]').first().inputValue();
    is((await post({ origin: base }, { csrf: theirs })).status(), 403, 'somebody else’s token');
    is((await post({ origin: base }, { csrf })).status(), 303, 'their own');
  },
  'nobody is given a session that somebody else chose': async () => {
    const page = await person();
    const chosen = 'A'.repeat(43);
    await page.context().addCookies([{ name: '__Host-concordat', value: chosen, url: base, secure: true, httpOnly: true }]);
    await signIn(page, officer);
    const cookies = await page.context().cookies(base);
    const session = cookies.find((cookie) => cookie.name === '__Host-concordat');
    if (session.value === chosen) throw new Error('the session is the one that was chosen');
    if (!session.secure || !session.httpOnly || session.sameSite !== 'Lax') throw new Error(JSON.stringify(session));
    // Signing in again makes another, and the one before is over.
    await page.goto(`${base}/sign-in?again=1`);
    await prove(page, officer);
    const stolen = await person();
    await stolen.context().addCookies([session]);
    await stolen.goto(`${base}/alerts`);
    await stolen.waitForSelector('input[name=login]');
    // An answer that was not begun in this browser signs nobody in.
    await go(stolen, '/signed-in?code=abc&state=def', 400);
  },
  'the back button shows nothing after signing out': async () => {
    const page = await person();
    await signIn(page, officer);
    await go(page, '/alerts');
    // Cookies are of a host, whatever its port: the provider's are not put back.
    const before = (await page.context().cookies(base)).filter((cookie) => cookie.name === '__Host-concordat');
    if (before.length !== 1) throw new Error('there is no session');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await check(page, 'signed-out');
    // At the provider, too: it would let them in again.
    for (const name of ['_session', '_session.sig', '_session.legacy', '_session.legacy.sig']) await page.context().clearCookies({ name });
    await page.goBack();
    await page.waitForLoadState();
    if (await page.getByRole('heading', { name: 'Alerts' }).count()) throw new Error('the alerts are there');
    await page.context().addCookies(before);
    await page.goto(`${base}/alerts`);
    if (new URL(page.url()).origin === base) throw new Error('the old cookie still works');
  },
  'every answer says what browsers may do': async () => {
    const page = await person();
    const answer = await page.goto(`${base}/`);
    const headers = answer.headers();
    for (const [name, part] of [['content-security-policy', "script-src 'self'"], ['cache-control', 'no-store'], ['x-content-type-options', 'nosniff'], ['strict-transport-security', 'max-age'], ['referrer-policy', 'same-origin']]) {
      if (!headers[name]?.includes(part)) throw new Error(`${name}: ${headers[name]}`);
    }
    if (headers['content-security-policy'].includes('unsafe')) throw new Error('the policy has an exception');
    for (const path of ['/accessibility', '/cookies']) { await go(page, path); await check(page, path.slice(1)); }
    is((await page.request.get(`${base}/`, { headers: { host: 'evil.example' } })).status(), 404, 'another host');
  },
  'sessions end': async () => {
    const page = await person();
    await signIn(page, officer);
    const session = async () => (await page.context().cookies(base)).find((cookie) => cookie.name === '__Host-concordat').value;
    const before = await session();
    await advance(16 * 60);
    // The provider still knows them and lets them in again, with another session.
    await page.goto(`${base}/alerts`);
    if (await session() === before) throw new Error('an idle session goes on');
  },
};

await run(journeys);
