// What pages say is true, and nothing that people write is lost. As journeys.mjs.
//
//   node honest.mjs MODULES CONSOLE_URL PICTURES FACTS
import { start } from './journey.mjs';

const { base, facts, person, signIn, prove, check, picture, ask, advance, is, says, go, press, run } = await start();

const hostile = '<script>window.broken = 1</script>"\'><img src=x onerror=window.broken=1>';
const silent = async (page, codes) => {
  const all = await page.locator('main').innerText();
  for (const code of codes) if (all.includes(code)) throw new Error(`the page says "${code}":\n${all.slice(0, 1500)}`);
};
const officer = 'ig-officer.trafford-council.TRF-IG-1';

const journeys = {
  'what is written when a session ends is given back, and is sent once they have signed in again': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-2', '/my-requests/new');
    await says(page, 'Complain, or have something corrected');
    await page.getByLabel('Complain about how').check();
    await page.fill('#text', `They asked three times.\n${hostile}`);
    await advance(16 * 60);
    await press(page, 'Send');
    await says(page, 'You are signed out');
    await says(page, 'It was not sent');
    is(await page.getByLabel('Text').inputValue(), `They asked three times.\n${hostile}`, 'what was written');
    await check(page, 'unsent');
    // Sending it before signing in gives it back again.
    await press(page, 'I have signed in: send it');
    is(await page.getByLabel('Text').inputValue(), `They asked three times.\n${hostile}`, 'what was written, once more');
    const [tab] = await Promise.all([page.context().waitForEvent('page'), page.getByRole('link', { name: /^Sign in again/ }).click()]);
    // The provider still knows them, and asks nothing.
    await tab.waitForURL((url) => url.pathname === '/my-data' && url.href.startsWith(base));
    await press(page, 'I have signed in: send it');
    await says(page, 'Check what you send');
    await page.getByLabel('Text').fill('They asked three times, and nobody told me.');
    await check(page, 'unsent-again');
    await page.getByRole('button', { name: /^Send it as resident-2/ }).click();
    await page.waitForURL(`${base}/my-requests`);
    await says(page, 'They asked three times, and nobody told me.');
    // Once, although it was sent three times.
    is(await page.getByText('They asked three times, and nobody told me.').count(), 1, 'complaints');
  },
  'what is written is given back to a page of ours alone, and numbers to nobody': async () => {
    const page = await person();
    await page.goto(`${base}/accessibility`);
    const post = async (path, headers, form) => {
      const answer = await page.request.post(`${base}${path}`, { headers, form, maxRedirects: 0 });
      return [answer.status(), await answer.text()];
    };
    const form = { right: 'complaint', text: 'words of an attacker' };
    for (const headers of [{}, { origin: 'https://evil.example' }, { origin: base, 'sec-fetch-site': 'cross-site' }]) {
      const [status, text] = await post('/my-requests', headers, form);
      is(status, 401, JSON.stringify(headers));
      if (text.includes('words of an attacker')) throw new Error(`given back to ${JSON.stringify(headers)}`);
    }
    const [status, text] = await post('/my-requests', { origin: base }, form);
    is(status, 401, 'our own page');
    if (!text.includes('words of an attacker')) throw new Error('it is not given back');
    const [, looked] = await post('/person', { origin: base }, { value: '973 211 0317', case_reference: 'IG-2026-115', note: 'of two words' });
    if (looked.includes('0317') || !looked.includes('of two words')) throw new Error(looked);
    // Whoever is signed in is not made to send somebody else's words by a page elsewhere.
    await signIn(page, officer);
    const [forbidden, theirs] = await post('/alerts/alt_0/review', { origin: 'https://evil.example' }, { csrf: 'x', note: 'words of an attacker' });
    is(forbidden, 403, 'another site');
    if (theirs.includes('words of an attacker')) throw new Error('given back to another site');
    // Whom a form was about is sealed for the session that is over: the words are there to copy.
    const [, about] = await post('/person/objection/record', { origin: base }, { csrf: 'x', person: 'sealed', grounds: 'nobody is to come' });
    if (!about.includes('nobody is to come') || about.includes('sealed') || about.includes('Send it as')) throw new Error(about);
  },
  'whoever writes is not signed out meanwhile, and whoever does nothing is asked before': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-2', '/my-requests/new');
    await says(page, 'Complain, or have something corrected');
    if (!(await page.locator('.app-who').innerText()).includes('Signed out after 15 minutes without use')) throw new Error('it is not said beforehand');
    const heard = (do_) => Promise.all([page.waitForResponse((answer) => answer.url().endsWith('/still-here')), do_()]).then(([answer]) => answer.status());
    await page.clock.install();
    await page.reload();
    await page.clock.fastForward('10:00');
    await advance(600);
    is(await heard(() => page.locator('#text').pressSequentially('a')), 204, 'writing');
    await page.clock.fastForward('12:00');
    await advance(12 * 60);
    is(await page.getByText('You will be signed out soon').isVisible(), false, 'the warning, a minute early');
    await page.clock.fastForward('01:30');
    await advance(90);
    await page.getByText('You will be signed out soon').waitFor();
    await picture(page, 'ending');
    is(await heard(() => press(page, 'Stay signed in')), 204, 'staying');
    is(await page.getByText('You will be signed out soon').isVisible(), false, 'the warning, after staying');
    is(await page.inputValue('#text'), 'a', 'what was written meanwhile');
    await advance(16 * 60);
    await page.clock.fastForward('16:00');
    await page.getByText('You are signed out. What you have written').waitFor();
    is((await page.request.get(`${base}/still-here`)).status(), 401, 'nobody is here');
  },
  'words that wait for a proof of who writes them are given back, and whom they are about with them': async () => {
    const staff = 'privacy-officer.nhs-england.NHS-PO-1';
    const page = await person();
    await signIn(page, staff, '/person');
    await page.fill('#value', '973 636 3023');
    await page.selectOption('#purpose', 'direct-care');
    await page.fill('#case_reference', 'IG-2026-114');
    await press(page, 'Look');
    await says(page, 'The person may have objected elsewhere');
    await says(page, '“you” is the person');
    await press(page, 'A consent');
    await page.getByLabel('That confidential information is shared').check();
    await page.getByLabel('It was given').check();
    await page.locator('input[name=recipients][value=gmca]').check();
    await page.locator('input[name=purposes][value=safe-and-well-referral]').check();
    await page.fill('#data_categories', `What the crew needs to know\n${hostile}`);
    await page.fill('#notice_version', 'SW-2');
    await page.locator('input[name=who][value=court-deputy]').check();
    await page.getByLabel('In writing').check();
    await page.fill('#capacity_statement', 'Found to lack capacity in May, by two doctors.');
    await page.fill('#evidence_reference', 'Order 12 of 2026');
    await advance(400);
    await press(page, 'Record the consent');
    await says(page, 'Prove that it is you');
    is(await page.getByLabel('Capacity statement').inputValue(), 'Found to lack capacity in May, by two doctors.', 'the statement');
    if ((await page.content()).includes('9736363023')) throw new Error('the page has the number');
    await check(page, 'prove-with-words');
    const [tab] = await Promise.all([page.context().waitForEvent('page'), page.getByRole('link', { name: /^Sign in again/ }).click()]);
    tab.wrong = [];
    await prove(tab, staff);
    await press(page, 'I have signed in: send it');
    await says(page, 'Check what you send');
    await page.getByRole('button', { name: /^Send it as NHS-PO-1/ }).click();
    await says(page, 'A deputy whom the Court of Protection appointed');
    await says(page, 'Found to lack capacity in May, by two doctors.');
    await says(page, 'What the crew needs to know');
    // Whoever is to prove that it is them is nobody else.
    await page.goto(`${base}/sign-in?again=1&to=%2Fperson`);
    await prove(page, 'privacy-officer.nhs-england.NHS-PO-2');
    await says(page, 'Somebody else has signed in');
    is((await page.request.get(`${base}/still-here`)).status(), 401, 'neither of them is signed in');
  },
  'a form that is sent twice objects once, and taking one of two back says what still stands': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-2', '/my-choices');
    await says(page, 'What you have objected to');
    is(await page.locator('input[type=radio]:checked').count(), 0, 'answers that are chosen beforehand');
    const csrf = await page.locator('input[name=csrf]').first().inputValue();
    const key = await page.locator('input[name=key]').inputValue();
    const send = (key_) => page.request.post(`${base}/my-choices/object`, { headers: { origin: base }, form: { csrf, key: key_, kind: 'objection', purposes: 'fire-prevention-targeting' }, maxRedirects: 0 });
    const answers = await Promise.all([send(key), send(key), send(key)]);
    is(answers.map((answer) => answer.status()).join(), '303,303,303', 'a form that is sent thrice');
    await page.reload();
    const again = page.getByRole('button', { name: /^I do not object any more/ });
    is(await again.count(), 1, 'objections');
    if ((await page.locator('main').innerText()).includes('more than once')) throw new Error('there is one');
    // Another form is another objection.
    is((await send(await page.locator('input[name=key]').inputValue())).status(), 303, 'another form');
    await page.reload();
    is(await again.count(), 2, 'objections');
    await says(page, 'it stays stopped until you have taken back each of them');
    await check(page, 'my-choices-twice');
    await again.first().click();
    await says(page, 'You took your objection back');
    is(await again.count(), 1, 'objections that are left');
    if ((await page.locator('main').innerText()).includes('more than once')) throw new Error('one is left');
    await check(page, 'my-choices-taken-back');
  },
  'a yes to what needs two consents is taken back as one, and one that counts no more says so': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1', '/my-choices');
    const agree = async (agreement) => {
      await go(page, `/my-choices/consent/${agreement}/single-look-up`);
      await page.getByLabel('Yes, I agree').check();
      await page.getByLabel('It is about me').check();
      await press(page, 'Send my answer');
      await says(page, 'What you have agreed to');
    };
    const asked = (agreement) => page.locator(`li:has(a[href*="${agreement}"])`);
    await agree('gmca-warm-homes');
    await agree('gmca-both');
    is((await asked('gmca-both').innerText()).includes('You agreed'), true, 'agreed');
    is(await page.getByRole('button', { name: /^Take it back/ }).count(), 3, 'consents');
    await says(page, 'That your data are used for it');
    // An officer takes one of the two back for them.
    const staff = await person();
    await signIn(staff, 'privacy-officer.nhs-england.NHS-PO-1', '/person');
    await staff.fill('#value', '973 211 0317');
    await staff.selectOption('#purpose', 'direct-care');
    await staff.fill('#case_reference', 'IG-2026-116');
    await press(staff, 'Look');
    await staff.locator('li:has-text("Gdpr consent") a').first().click();
    await staff.locator('input[name=who][value=person]').check();
    await staff.getByLabel('By telephone').check();
    await press(staff, 'Take it back');
    await says(staff, 'Withdrawn');
    await page.reload();
    is((await asked('gmca-both').innerText()).includes('You agreed to a part of it'), true, 'in part');
    await go(page, '/my-choices/consent/gmca-both/single-look-up');
    await says(page, 'have taken a part of it back since');
    await check(page, 'my-consent-in-part');
    await go(page, '/my-choices');
    // The other agreement has the same two organisations and purpose: taking this one back ends that one, and the page says it.
    const csrf = await page.locator('input[name=csrf]').first().inputValue();
    const yes = await page.locator('form[action="/my-choices/withdraw"] input[name=reference]').evaluateAll((all) => all.map((one) => one.value));
    is(yes.length, 2, 'consents that hold');
    await advance(1);
    await page.getByRole('button', { name: /^Take it back/ }).first().click();
    await says(page, 'You took it back. From now on nothing more is told on it.');
    await says(page, 'Does not count any more');
    is(await page.getByRole('button', { name: /^Take it back/ }).count(), 0, 'consents that hold');
    await check(page, 'my-choices-counts-no-more');
    // In a second tab it is what they want already.
    for (const reference of yes) {
      const twice = await page.request.post(`${base}/my-choices/withdraw`, { headers: { origin: base }, form: { csrf, reference }, maxRedirects: 0 });
      is(twice.status(), 303, 'taking back what is taken back');
    }
  },
  'whoever looks at their own page is told apart from others, and how they were found out is what the provider said': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1', '/my-data');
    await says(page, 'Who looked at what is kept about you');
    for (let turn = 0; turn < 5; turn += 1) await page.reload();
    const all = await page.locator('main').innerText();
    if (/\(citizen\)|nhs login p9/.test(all)) throw new Error(all);
    await page.getByText('When you looked here yourself').click();
    if (!/23 November 2026, \d+ times/.test(await page.locator('main').innerText())) throw new Error(await page.locator('main').innerText());
    // Officers who looked are in the list, and nobody has to look for them.
    const others = await page.locator('h2:has-text("Who looked at what is kept") + ul > li').allInnerTexts();
    if (others.length === 0 || !others.every((one) => one.includes('privacy officer'))) throw new Error(others.join('\n'));
    await check(page, 'my-data-looks');
    const other = await person();
    await signIn(other, 'citizen.-.resident-4', '/my-data');
    await says(other, 'We could not match you');
  },
  'an address that forms are sent to leads to their page': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1', '/my-choices');
    await says(page, 'Object to a use');
    await press(page, 'Object');
    await says(page, 'Choose what you want');
    is(new URL(page.url()).pathname, '/my-choices/object', 'where the form was sent');
    await page.goto(page.url());
    is(new URL(page.url()).pathname, '/my-choices', 'the page of the form');
    await says(page, 'Object to a use');
    is((await page.request.put(`${base}/my-choices`, { maxRedirects: 0 })).status(), 405, 'another method');
    for (const [from, to] of [['/my-choices/withdraw', '/my-choices'], ['/sign-out', '/my-data']]) {
      await page.goto(base + from);
      is(new URL(page.url()).pathname, to, from);
    }
  },
  'signing out ends the provider’s session although the one here is over': async () => {
    const page = await person();
    await signIn(page, officer);
    await advance(16 * 60);
    const asked = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.locator('button[name=logout][value=yes]').click();
    await says(page, 'the sign-in service has ended its own');
    if (!asked.some((url) => url.includes('/session/end?'))) throw new Error('the provider was not told');
    await page.goto(`${base}/sign-in`);
    await page.waitForSelector('input[name=login]');
    const other = await person();
    is((await other.request.post(`${base}/sign-out`, { headers: { origin: 'https://evil.example' }, maxRedirects: 0 })).status(), 401, 'another site');
  },
  'requests that wait for others are apart, and the home page counts what waits here': async () => {
    const page = await person();
    await signIn(page, officer);
    const waiting = await page.locator('li:has-text("Requests to decide") .govuk-task-list__status').innerText();
    await go(page, '/referrals');
    await check(page, 'referrals-apart');
    const rows = await page.locator('h2:has-text("To decide") + div tbody tr').count();
    is(waiting.startsWith(`${rows} waiting`), true, `${waiting}, of ${rows}`);
    // Who asked can do nothing but wait.
    const asker = await person();
    await signIn(asker, 'ig-officer.gmca.GMFRS-IG-1');
    is(await asker.locator('li:has-text("Requests to decide") .govuk-task-list__status').innerText(), 'Nothing waits', 'requests to decide');
    await go(asker, '/referrals');
    is(await asker.locator('h2:has-text("Waiting for others") + div tbody tr').count(), 1, 'requests that wait for others');
    is(await asker.getByText('Overdue').count(), 0, 'what is overdue for somebody else');
  },
  'pictures are drawn of what is said, reasons by week too, and seen in forced colours': async () => {
    const page = await person();
    await signIn(page, 'auditor.trafford-council.TRF-AUD-3', '/flows');
    await says(page, 'Why nothing was released, week by week');
    await check(page, 'pictures-honest');
    const heights = await page.locator('svg rect.app-bar').evaluateAll((all) => all.map((one) => Number(one.getAttribute('height'))));
    is(heights.length, 1, 'weeks that are drawn');
    const forced = await person({ forcedColors: 'active', colorScheme: 'dark' });
    await signIn(forced, 'auditor.trafford-council.TRF-AUD-3', '/flows');
    await says(forced, 'Why nothing was released');
    const [background, text] = await forced.locator('svg.app-picture').first().evaluate((one) => [getComputedStyle(one).backgroundColor, getComputedStyle(one.querySelector('text')).fill]);
    if (background === text || background === 'rgb(255, 255, 255)') throw new Error(`${text} on ${background}`);
    await picture(forced, 'pictures-forced-seen');
  },
  'pages of an agreement that are not theirs are not offered': async () => {
    const page = await person();
    await signIn(page, officer);
    await go(page, '/agreements/gm-fire-prevention-over-65s');
    is(await page.getByRole('link', { name: 'Use', exact: true }).count(), 0, 'a link to what is not theirs');
    const party = await person();
    await signIn(party, 'ig-officer.gmca.GMFRS-IG-1');
    await go(party, '/agreements/gm-fire-prevention-over-65s');
    await party.getByRole('link', { name: 'Use', exact: true }).click();
    await says(party, 'Use');
  },
};

await run(journeys);
