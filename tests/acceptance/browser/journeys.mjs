// What people do in the console, in a real browser, and what attackers try.
//
//   node journeys.mjs MODULES CONSOLE_URL PICTURES FACTS
//
// FACTS is JSON: what the test put into the gateway beforehand. It says `ok NAME` or `FAILED NAME: …` for each journey, and
// `advance SECONDS` when time should pass, `more` when the agreement that a resident agreed to should ask for more; a line that is written to it means that it has.
import { start } from './journey.mjs';

const { base, facts, person, signIn, signOut, prove, check, picture, ask, advance, is, says, go, press, run } = await start();

/** Sends a form when it is too long since somebody proved who they are, and comes back to it. */
const proved = async (page, button, login) => {
  await advance(400);
  await press(page, button);
  await says(page, 'what you wrote is still there');
  await press(page, 'Sign in again');
  await prove(page, login);
  await says(page, 'It was not sent');
};
/** Codes are for programs. */
const silent = async (page, codes) => {
  const all = await page.locator('main').innerText();
  for (const code of codes) if (all.includes(code)) throw new Error(`the page says "${code}":\n${all.slice(0, 1500)}`);
};

const hostile = '<script>window.broken = 1</script>"\'><img src=x onerror=window.broken=1>';
/** Looks somebody up, as an officer does. */
const look = async (page, number = '973 211 0317') => {
  await go(page, '/person');
  await page.fill('#value', number);
  await page.selectOption('#purpose', 'direct-care');
  await page.fill('#case_reference', 'IG-2026-114');
  await press(page, 'Look');
  await says(page, 'Record what the person says');
  if ((await page.content()).includes(number.replaceAll(' ', ''))) throw new Error('the page has the number');
};
/** Says who said something. */
const said = async (page, who, evidence = '') => {
  await page.locator(`input[name=who][value=${who}]`).check();
  await page.getByLabel('In writing').check();
  await page.fill('#capacity_statement', evidence ? `Found to lack capacity. ${hostile}` : '');
  await page.fill('#evidence_reference', evidence);
};

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
    // A colleague who had it open, too, and finds something else.
    const other = await person();
    await signIn(other, 'privacy-officer.trafford-council.TRF-PO-2', new URL(page.url()).pathname.replace('/review', ''));
    await says(other, 'Looked at by');
    await other.getByLabel('It was not right').check();
    await other.fill('#note', 'Nobody was on duty at that hour.');
    await press(page, 'Close the alert');
    await says(page, 'Closed');
    await press(other, 'Close the alert');
    await says(other, 'A colleague closed it meanwhile');
    await says(other, 'It was right, by ig-officer.trafford-council.TRF-IG-1');
    await says(other, 'looked at the call log');
    is(await other.inputValue('#note'), 'Nobody was on duty at that hour.', 'what the second wrote');
    await check(other, 'alert-closed-meanwhile');
    await press(other, 'Take it up again');
    await says(other, 'Triaged');
    await says(other, 'Nobody was on duty at that hour.');
    await other.getByLabel('It was not right').check();
    await other.fill('#note', 'The shift plan has nobody at that hour.');
    await press(other, 'Close the alert');
    await says(other, 'It was not right, by privacy-officer.trafford-council.TRF-PO-2');
    await says(other, 'It was right, by ig-officer.trafford-council.TRF-IG-1');
    await page.reload();
    await check(page, 'alert-closed');
  },
  'an emergency is reviewed by somebody else': async () => {
    const page = await person();
    await signIn(page, 'practitioner-reviewer.gmca.GMFRS-REV-1');
    await go(page, '/reviews');
    await check(page, 'reviews');
    await page.locator('table a').first().click();
    for (const words of ['What was declared', 'smoke', 'Immediate risk to life', 'Yes', 'What was asked under it']) await says(page, words);
    is(await page.locator('h2:has-text("What was asked under it") + ul a').count() > 0, true, 'what was asked');
    await check(page, 'emergency');
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
    await press(page, 'Allow it once');
    await says(page, 'Choose the condition, or that none is needed');
    await page.selectOption('#article_9', 'none');
    await press(page, 'Allow it once');
    await says(page, 'Choose how the duty of confidentiality is met');
    await page.selectOption('#confidentiality', 'public-interest');
    await press(page, 'Allow it once');
    await press(page, 'Yes, go on');
    is(await page.locator('#article_9-error').innerText().then((text) => text.includes('Oxygen in use at home')), true, 'the item, at its field');
    await page.selectOption('#article_9', '9(2)(g)');
    await press(page, 'Allow it once');
    await press(page, 'Yes, go on');
    is(await page.locator('#schedule_1-error').count(), 1, 'at the field that is missing');
    await page.fill('#schedule_1', 'part 2 paragraph 18');
    await proved(page, 'Allow it once', 'caldicott-guardian.trafford-council.TRF-CG-1');
    is(await page.getByLabel('Why').first().inputValue(), 'Section 42 duty; the harm of not sharing outweighs the intrusion.', 'the reason');
    is(await page.locator('input[name=items]:checked').count(), 2, 'items');
    is(await page.inputValue('#schedule_1'), 'part 2 paragraph 18', 'the condition');
    await check(page, 'referral-kept');
    // What cannot be taken back is asked for twice.
    await press(page, 'Allow it once');
    for (const words of ['Check before you go on', 'Oxygen in use at home (only yes or no)', 'Section 42 duty', 'cannot be taken back', '1440 minutes', '6(1)(c), 9(2)(g), part 2 paragraph 18']) await says(page, words);
    await check(page, 'sure');
    await press(page, 'No, go back');
    is(await page.locator('.govuk-tag', { hasText: 'Granted' }).count(), 0, 'what is granted before they are sure');
    is(await page.inputValue('#schedule_1'), 'part 2 paragraph 18', 'what they wrote');
    await press(page, 'Allow it once');
    await press(page, 'Yes, go on');
    await says(page, 'Granted');
    await says(page, 'Trafford');
    await silent(page, ['trafford-asc', 'health.home_oxygen']);
    await check(page, 'referral-granted');
    await page.fill('#text', `${hostile} the crew does not need it any more`);
    await proved(page, 'Take it back', 'caldicott-guardian.trafford-council.TRF-CG-1');
    is(await page.inputValue('#text'), `${hostile} the crew does not need it any more`, 'why it is taken back');
    await press(page, 'Take it back');
    await press(page, 'Yes, go on');
    await says(page, 'Revoked');
    is(await page.getByRole('button', { name: 'Take it back' }).count(), 0, 'ways to take it back');
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
    const told = await page.locator('main p.govuk-body').allInnerTexts();
    if (told.some((text) => /nhs-pds|trafford-asc|person\.[a-z_]+/.test(text))) throw new Error(`codes in the explanation: ${told.join(' / ')}`);
    is(await page.locator('.app-seal--broken').count(), 0, 'broken seals');
    await check(page, 'decision');
    await page.emulateMedia({ media: 'print' });
    await picture(page, 'decision-print');
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
    await says(page, 'Enough of them (1) have cosigned the first');
    await says(page, 'less than a minute ago');
    await check(page, 'ledger');
    await go(page, '/flows');
    await check(page, 'pictures');
    await go(page, '/alerts', 403);
    await go(page, '/my-choices', 403);
    await check(page, 'forbidden');
    const home = page.getByRole('link', { name: 'Home', exact: true });
    is(await home.count(), 1, 'ways home from a page that is refused');
    await go(page, '/nowhere', 404);
    await check(page, 'not-found');
    is(await home.count(), 1, 'ways home from a page that there is not');
    is(await page.getByRole('button', { name: 'Sign out' }).count(), 1, 'ways to sign out from there');
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
    await one.fill('#from', '1.13.2026');
    await press(one, 'Ask');
    await says(one, 'Write a date such as');
    await one.fill('#from', '1/11/2026');
    await proved(one, 'Ask', 'auditor.trafford-council.TRF-AUD-3');
    is(await one.inputValue('#case_reference'), 'AUDIT-2026-Q4', 'the case');
    is(await one.inputValue('#from'), '1/11/2026', 'the first day');
    await check(one, 'exports-kept');
    // Nobody else is shown it, and whoever leaves it there finds it once.
    await one.reload();
    is(await one.inputValue('#case_reference'), '', 'the case, later');
    await one.fill('#case_reference', 'AUDIT-2026-Q4');
    await one.fill('#from', '1 November 2026');
    await press(one, 'Ask');
    await says(one, 'Nobody approves their own');
    await check(one, 'export');
    const path = new URL(one.url()).pathname;
    await signIn(other, 'auditor.trafford-council.TRF-AUD-4');
    await says(other, '1 waiting');
    await go(other, path);
    // Whoever approves it knows what.
    await says(other, 'Entries from');
    await says(other, '1 November 2026');
    await check(other, 'export-to-approve');
    await press(other, 'Approve');
    await says(other, 'cannot be taken back');
    await says(other, 'TRF-AUD-3, Trafford Council');
    await press(other, 'Yes, go on');
    for (let turn = 0; turn < 100 && !(await one.locator('main').innerText()).includes('Ready'); turn += 1) { await advance(1); await one.reload(); }
    await check(one, 'export-ready');
    const [file] = await Promise.all([one.waitForEvent('download'), one.getByRole('button', { name: 'Download the file' }).click()]);
    const chunks = []; for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    if (!Buffer.concat(chunks).toString().includes('agreement_moved')) throw new Error('it is not the ledger');
    const [manifest] = await Promise.all([one.waitForEvent('download'), one.getByRole('link', { name: 'Download its manifest' }).click()]);
    is(manifest.suggestedFilename(), `${file.suggestedFilename()}.manifest.json`, 'where concordat-verify looks for it');
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
    // Only what can be done is offered.
    is(await page.locator('#step option[value=activate]').count(), 0, 'ways to put in force what nobody has signed');
    await press(page, 'Take it');
    await says(page, 'There is a problem');
    await says(page, 'Choose a step');
    await check(page, 'agreement-wrong');
    await page.selectOption('#step', 'decline');
    await page.fill('#text', 'The purpose can be met with less.');
    await proved(page, 'Take it', 'ig-officer.nhs-england.NHS-IG-1');
    is(await page.inputValue('#step'), 'decline', 'the step');
    is(await page.inputValue('#text'), 'The purpose can be met with less.', 'the words');
    await check(page, 'agreement-kept');
    is(await page.locator('#step option[value=review]').count(), 0, 'ways to begin to look at what they look at');
    await press(page, 'Take it');
    await says(page, 'takes no further part in this negotiation');
    await press(page, 'Yes, go on');
    await says(page, 'Declined');
    await says(page, 'There is no step of this form for you to take now.');
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
  'a privacy officer records what the person and others with authority say': async () => {
    const page = await person();
    await signIn(page, 'privacy-officer.nhs-england.NHS-PO-1');
    await look(page);
    await press(page, 'A consent');
    await check(page, 'consent-form');
    is(await page.locator('input[type=radio]:checked').count(), 0, 'answers that are chosen beforehand');
    await press(page, 'Record the consent');
    await says(page, 'Choose what was agreed to');
    await page.getByLabel('That confidential information is shared').check();
    await page.getByLabel('It was given').check();
    await press(page, 'Record the consent');
    await says(page, 'Say who decides');
    await check(page, 'consent-form-wrong');
    await page.locator('input[name=recipients][value=gmca]').check();
    await page.locator('input[name=purposes][value=safe-and-well-referral]').check();
    await page.fill('#data_categories', `Needs\n${hostile}`);
    await page.fill('#notice_version', `SW-2 ${hostile}`);
    await page.fill('#given_at', 'yesterday');
    await said(page, 'court-deputy');
    await press(page, 'Record the consent');
    await says(page, 'Say where the proof of the authority is kept');
    await said(page, 'court-deputy', `Order 12 of 2026 ${hostile}`);
    await press(page, 'Record the consent');
    await says(page, 'Write a date such as');
    await page.fill('#given_at', '20/11/2026');
    await page.fill('#expires_at', '31 December 2027');
    await press(page, 'Record the consent');
    await says(page, 'A deputy whom the Court of Protection appointed');
    await says(page, 'Order 12 of 2026 <script>');
    await says(page, 'the end of 31 December 2027');
    await check(page, 'consent');
    const consent = new URL(page.url()).pathname;
    await page.locator('input[name=status][value=renewed]').check();
    await page.fill('#reason', hostile);
    await page.fill('#expires_at', '2027-11-20');
    await press(page, 'Change it');
    await says(page, 'Renewed');
    await press(page, 'Take it back');
    await says(page, 'Say how it was said');
    await check(page, 'consent-wrong');
    await said(page, 'person');
    await press(page, 'Take it back');
    await says(page, 'Withdrawn');
    await says(page, 'by the person, in writing');
    is(await page.getByRole('button', { name: 'Take it back' }).count(), 0, 'ways to take it back twice');
    await look(page);
    await press(page, 'An objection or a restriction');
    await check(page, 'objection-form');
    await press(page, 'Record it');
    await says(page, 'Say which of these it is');
    await page.getByLabel('Restrict: keep').check();
    await page.fill('#grounds', hostile);
    await said(page, 'parental-responsibility', `Seen on 20 November ${hostile}`);
    await press(page, 'Record it');
    await says(page, 'In force');
    await check(page, 'objection');
    const objection = new URL(page.url()).pathname;
    await page.getByLabel('Lift it').check();
    await page.fill('#grounds', 'short');
    await press(page, 'Answer');
    await says(page, 'Write them in 20 to 4,000 characters');
    await check(page, 'objection-wrong');
    await page.fill('#grounds', 'The address was found to be right, and the person was told.');
    await press(page, 'Answer');
    is(await page.locator('#told_of_remedies-error').count(), 1, 'at the field that is missing');
    await page.locator('#told_of_remedies').check();
    await press(page, 'Answer');
    await says(page, 'The address was found to be right');
    await says(page, 'No');
    // Whom a form is about cannot be carried to another session, nor made up.
    await look(page);
    const sealed = await page.locator('input[name=person]').inputValue();
    const another = await person();
    await signIn(another, 'privacy-officer.nhs-england.NHS-PO-2');
    const csrf = await another.locator('input[name=csrf]').first().inputValue();
    const post = (path, form) => another.request.post(`${base}${path}`, { headers: { origin: base }, form: { csrf, ...form }, maxRedirects: 0 });
    is((await post('/person/consent', { person: sealed })).status(), 400, 'somebody else’s form');
    is((await post('/person/objection', { person: 'AAAA' })).status(), 400, 'a form about nobody');
    is((await post('/person/rights-request/record', {})).status(), 400, 'a form about nobody');
    // Another organisation's officers see nothing of it, nor do other roles and residents.
    const elsewhere = await person();
    await signIn(elsewhere, 'privacy-officer.trafford-council.TRF-PO-2');
    for (const path of [objection]) await go(elsewhere, path, 404);
    for (const who of [officer, 'auditor.trafford-council.TRF-AUD-3', 'operator.trafford-council.TRF-OP-1', 'citizen.-.resident-1']) {
      const other = await person();
      await signIn(other, who);
      const theirs = await other.locator('input[name=csrf]').first().inputValue();
      for (const path of [consent, objection]) await go(other, path, 403);
      for (const path of ['/person/consent', '/person/consent/record', '/person/objection/record', '/person/rights-request/record', `${consent}/withdraw`, `${consent}/status`, `${objection}/answer`, `${objection}/withdraw`]) {
        const answer = await other.request.post(`${base}${path}`, { headers: { origin: base }, form: { csrf: theirs, person: sealed }, maxRedirects: 0 });
        is(answer.status(), 403, `${who} at ${path}`);
      }
      await other.context().close();
    }
  },
  'a resident complains, an officer answers, and the resident reads it': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1');
    await go(page, '/my-data');
    await page.getByRole('link', { name: /^complain or have something corrected/ }).first().click();
    await says(page, 'It is about');
    await check(page, 'my-request');
    await press(page, 'Send');
    await says(page, 'Choose what you want');
    await check(page, 'my-request-wrong');
    await page.getByLabel('Complain about how').check();
    await page.fill('#text', `${hostile} I was not told.`);
    await press(page, 'Send');
    await says(page, 'tells you by 23 December 2026');
    await check(page, 'my-requests');
    await go(page, '/my-requests/new');
    await page.getByLabel('Have something corrected').check();
    await page.fill('#text', 'I moved in October, and the letter went to the old address.');
    await press(page, 'Send');
    await says(page, 'Say what is wrong');
    await page.fill('#item', `my address ${hostile}`);
    await press(page, 'Send');
    await says(page, 'answers by 23 December 2026');
    // Another resident has none of it, and cannot name the event.
    const event = facts.released;
    const other = await person();
    await signIn(other, 'citizen.-.resident-2');
    await go(other, '/my-requests');
    await says(other, 'You have not sent any');
    await go(other, `/my-requests/new?about=${event}`, 404);
    const theirs = await other.locator('input[name=csrf]').first().inputValue();
    const forged = await other.request.post(`${base}/my-requests`, { headers: { origin: base }, form: { csrf: theirs, right: 'complaint', text: 'ten letters or more', about: event }, maxRedirects: 0 });
    is(forged.status(), 404, 'a complaint about somebody else’s event');
    await go(other, '/rights-requests', 403);
    // The officer finds it on the home page, with its clock.
    const desk = await person();
    await signIn(desk, 'ig-officer.nhs-england.NHS-IG-1');
    await says(desk, 'Complaints and corrections');
    await go(desk, '/rights-requests');
    await says(desk, 'Acknowledge by 23 December 2026');
    await says(desk, 'Acknowledge it, and answer by 23 December 2026');
    await check(desk, 'rights-requests');
    await desk.getByRole('link', { name: /^Complaint rrq/ }).first().click();
    await press(desk, 'Acknowledge it');
    await says(desk, 'Acknowledged');
    await press(desk, 'Answer');
    await says(desk, 'Say what you found');
    await check(desk, 'rights-request-wrong');
    await desk.getByLabel('It is not right').check();
    await desk.fill('#answer', `${hostile} We looked at it with care.`);
    await press(desk, 'Answer');
    await says(desk, 'Tell the person that they can complain');
    await desk.locator('#told_of_remedies').check();
    await press(desk, 'Answer');
    await says(desk, 'Not upheld');
    await check(desk, 'rights-request');
    await page.reload();
    await go(page, '/my-requests');
    await says(page, 'We looked at it with care.');
    await check(page, 'my-requests-answered');
    if ((await page.content()).includes('NHS-IG-1')) throw new Error('the officer is named');
    // Whose it is not to answer sees none of it.
    const elsewhere = await person();
    await signIn(elsewhere, officer);
    await go(elsewhere, '/rights-requests');
    await says(elsewhere, 'There are none');
    await go(elsewhere, new URL(desk.url()).pathname, 404);
    // Recorded for somebody who does not use these pages.
    const staff = await person();
    await signIn(staff, 'privacy-officer.nhs-england.NHS-PO-1');
    await look(staff, '973 636 3023');
    await press(staff, 'A complaint or a correction');
    await check(staff, 'rights-form');
    await press(staff, 'Record it');
    await says(staff, 'Say which of these it is');
    await staff.getByLabel('Complain about how').check();
    await staff.fill('#text', `${hostile} told us at the desk`);
    await said(staff, 'person');
    await press(staff, 'Record it');
    await says(staff, 'told us at the desk');
  },
  'signing out ends the provider’s session, too': async () => {
    for (const [who, hinted] of [['citizen.-.resident-1', false], [officer, true]]) {
      const page = await person();
      await signIn(page, who);
      const asked = [];
      page.on('request', (request) => asked.push(request.url()));
      await signOut(page);
      await says(page, 'the sign-in service has ended its own');
      const end = asked.find((url) => url.includes('/session/end?'));
      if (!end) throw new Error('the provider was not told');
      // A resident's token holds their number: it is in no address.
      is(end.includes('id_token_hint='), hinted, `an id token of ${who} is in an address`);
      // Whoever sits down next is asked who they are.
      await page.goto(`${base}/sign-in`);
      await page.waitForSelector('input[name=login]');
    }
  },
  'an operator sees the ledger and nothing about anybody': async () => {
    const page = await person();
    await signIn(page, 'operator.trafford-council.TRF-OP-1');
    await check(page, 'home-operator');
    await go(page, '/ledger');
    is(await page.getByRole('button', { name: 'Verify it now' }).count(), 0, 'verify buttons');
    await says(page, 'Greater Manchester Combined Authority');
    for (const path of ['/alerts', '/reviews', '/referrals', '/trail', '/person', '/exports', '/flows', '/my-data', `/decisions/${facts.refused}`]) await go(page, path, 403);
    // Whoever may not ask for an export is told so, and nothing of theirs is kept until they sign in again.
    await advance(400);
    await go(page, '/');
    const form = { csrf: await page.locator('input[name=csrf]').first().inputValue(), format: 'csv', case_reference: 'A-1' };
    is((await page.request.post(`${base}/exports`, { headers: { origin: base }, form, maxRedirects: 0 })).status(), 403, 'an export of an operator’s');
  },
  'a resident sees who asked, objects, and takes a consent back': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1');
    await says(page, 'Greater Manchester Combined Authority');
    await check(page, 'my-data');
    await go(page, '/my-choices');
    await press(page, 'Object');
    await says(page, 'Choose what you want');
    await page.getByLabel('Stop it, and tell me').check();
    await press(page, 'Object');
    await says(page, 'Choose what you object to');
    await check(page, 'my-choices-wrong');
    await page.getByLabel('Finding homes and people that a fire would harm most').check();
    await page.fill('#grounds', '<script>window.broken = 1</script> nobody is to come to my house');
    await press(page, 'Object');
    await says(page, 'You get an answer by');
    await check(page, 'my-choices');
    await page.getByLabel('Keep my data').check();
    await page.getByLabel('Finding homes and people that a fire would harm most').check();
    await press(page, 'Object');
    await page.getByRole('button', { name: /^I do not object any more/ }).first().click();
    await says(page, 'Withdrawn');
    const stranger = await page.locator('input[name=csrf]').first().inputValue();
    const taken = await page.request.post(`${base}/my-choices/take-back`, { headers: { origin: base }, form: { csrf: stranger, reference: 'obj_00000000000000000000000000000000' }, maxRedirects: 0 });
    is(taken.status(), 404, 'an objection of nobody’s');
    for (const path of ['/alerts', '/trail', '/person', '/agreements', '/ledger', '/exports', `/decisions/${facts.released}`]) await go(page, path, 403);
    const other = await person();
    await signIn(other, 'citizen.-.resident-3');
    await check(other, 'my-data-unmatched').catch((error) => { if (!/title/.test(String(error))) throw error; });
    await says(other, 'We could not match you');
  },
  'a resident agrees to what asks for it, after proving who they are, and takes it back': async () => {
    const page = await person();
    await signIn(page, 'citizen.-.resident-1');
    await go(page, '/my-choices');
    await page.getByRole('link', { name: /^May Trafford Council/ }).click();
    for (const words of ['You need not agree', 'Help for somebody who may be homeless', '180 days, then they delete it', 'Until 23 November 2027', 'The visit is to a home', 'Trafford Council']) await says(page, words);
    await check(page, 'my-consent');
    await press(page, 'Send my answer');
    await says(page, 'Choose yes or no');
    await page.getByLabel('Yes, I agree').check();
    await press(page, 'Send my answer');
    await says(page, 'Agree only for yourself');
    await check(page, 'my-consent-wrong');
    await page.getByLabel('It is about me').check();
    // Whoever finds the page open does not agree for them.
    await advance(400);
    await press(page, 'Send my answer');
    await press(page, 'Sign in again');
    await prove(page, 'citizen.-.resident-1');
    await page.waitForURL(/trafford-homelessness-help/);
    await page.getByLabel('Yes, I agree').check();
    await page.getByLabel('It is about me').check();
    await press(page, 'Send my answer');
    await says(page, 'Given');
    await check(page, 'my-choices-agreed');
    await says(page, 'What they may be told');
    await says(page, 'You agreed');
    // A later version with more in it: they are told what is new, and asked again.
    await ask('more');
    await page.reload();
    await says(page, 'More than you agreed to');
    await page.getByRole('link', { name: /^May Trafford Council/ }).click();
    for (const words of ['There is more in it now', 'Postcode', 'Your yes still covers this: Surname', 'version 3']) await says(page, words);
    await check(page, 'my-consent-more');
    await page.getByLabel('Yes, I agree').check();
    await page.getByLabel('It is about me').check();
    await press(page, 'Send my answer');
    await says(page, 'You agreed');
    // What needs no yes is not said to need one.
    await go(page, '/my-choices/consent/gmca-warm-homes/single-look-up');
    for (const words of ['some of it is told only if you agree', 'What may be told whether or not you agree', 'your answer here does not stop it', 'You can object to it']) await says(page, words);
    is(await page.locator('h2:has-text("What is told only if you agree") + dl dt').allInnerTexts().then((all) => all.join()), 'GP practice (ODS code)', 'what waits for a yes');
    await check(page, 'my-consent-some');
    await go(page, '/my-choices');
    await page.getByRole('button', { name: /^Take it back/ }).first().click();
    await says(page, 'Withdrawn');
    // A no does not wait for another sign-in.
    await advance(400);
    await page.getByRole('link', { name: /^May Trafford Council/ }).click();
    await page.getByLabel('No, I do not agree').check();
    await press(page, 'Send my answer');
    await says(page, 'Refused');
    const csrf = await page.locator('input[name=csrf]').first().inputValue();
    const post = (of, form) => page.request.post(`${base}/my-choices/consent/${of}`, { headers: { origin: base }, form: { csrf, ...form }, maxRedirects: 0 });
    is((await post('trafford-homelessness-help/single-look-up', { answer: 'refused', version: '1' })).status(), 303, 'a no to what has changed meanwhile');
    is((await post('gm-safe-and-well-referral/referral', { answer: 'refused', version: '1' })).status(), 404, 'a flow that does not ask by their number');
    await go(page, '/my-choices/consent/gm-fire-prevention-over-65s/single-look-up', 404);
    const staff = await person();
    await signIn(staff, 'privacy-officer.nhs-england.NHS-PO-1');
    await go(staff, '/my-choices/consent/trafford-homelessness-help/single-look-up', 403);
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
    await go(page, '/ledger');
    await press(page, 'Verify it now');
    await says(page, 'The ledger is sound');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await says(page, 'session here has ended');
    await page.getByRole('button', { name: 'Sign out of the sign-in service' }).click();
    await page.locator('button[name=logout][value=yes]').click();
    await says(page, 'the sign-in service has ended its own');
    const resident = await person({ javaScriptEnabled: false });
    await signIn(resident, 'citizen.-.resident-2');
    await resident.getByRole('link', { name: 'My complaints and corrections' }).click();
    await resident.getByRole('button', { name: 'Complain, or have something corrected' }).click();
    await resident.getByLabel('Complain about how').check();
    await resident.fill('#text', 'Nobody told me that they would ask.');
    await press(resident, 'Send');
    await says(resident, 'Nobody told me that they would ask.');
    await resident.getByRole('link', { name: 'My choices' }).click();
    await resident.getByLabel('Stop it, and tell me').check();
    await resident.getByLabel('Finding homes and people that a fire would harm most').check();
    await press(resident, 'Object');
    await says(resident, 'You get an answer by');
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
    // A whole piece of work: a resident complains, without a pointer.
    const resident = await person();
    await signIn(resident, 'citizen.-.resident-2', '/my-requests/new');
    const at = () => resident.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim());
    const walk = async (to) => {
      for (let turn = 0; turn < 60; turn += 1) {
        await resident.keyboard.press('Tab');
        if (await at() === to) {
          const seen = await resident.evaluate(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' || style.boxShadow !== 'none' || style.backgroundColor === 'rgb(255, 221, 0)'; });
          if (!seen) throw new Error(`nobody sees that ${to} has the focus`);
          return;
        }
      }
      throw new Error(`${to} is out of reach`);
    };
    await walk('right');
    await resident.keyboard.press('Space');
    await walk('text');
    await resident.keyboard.type('Sent with the keyboard alone.');
    await walk('Send');
    await resident.keyboard.press('Enter');
    await resident.waitForURL(`${base}/my-requests`);
    await says(resident, 'Sent with the keyboard alone.');
  },
  'high contrast and dark are respected': async () => {
    const page = await person({ forcedColors: 'active', colorScheme: 'dark' });
    await signIn(page, officer);
    await picture(page, 'home-forced');
    await go(page, '/flows');
    await picture(page, 'pictures-forced');
    for (const colorScheme of ['light', 'dark']) {
      const more = await person({ contrast: 'more', colorScheme });
      await signIn(more, officer);
      await check(more, `home-contrast-${colorScheme}`);
      for (const [shown, wanted] of [['light', 'rgb(255, 255, 255)'], ['dark', 'rgb(0, 0, 0)']]) {
        await more.emulateMedia({ colorScheme: shown });
        is(await more.evaluate(() => getComputedStyle(document.body).backgroundColor), wanted, `more contrast in the ${shown}`);
      }
    }
    const wide = await person({ viewport: { width: 1920, height: 1080 }, colorScheme: 'dark' });
    await signIn(wide, officer);
    await go(wide, '/trail?kind=release');
    await picture(wide, 'trail-wide');
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
    await signOut(page);
    await check(page, 'signed-out');
    for (let turn = 0; turn < 3 && !page.url().includes('/alerts') && !page.url().includes('login'); turn += 1) await page.goBack();
    await page.waitForLoadState();
    if (await page.getByRole('heading', { name: 'Alerts' }).count()) throw new Error('the alerts are there');
    await page.context().addCookies(before);
    await page.goto(`${base}/alerts`);
    if (new URL(page.url()).origin === base) throw new Error('the old cookie still works');
  },
  'a form that is sent after the session has ended says so, and nothing is sent': async () => {
    const page = await person();
    await signIn(page, officer);
    await go(page, '/person');
    await page.context().clearCookies({ name: '__Host-concordat' });
    await page.fill('#value', '973 211 0317');
    await page.selectOption('#purpose', 'direct-care');
    await page.fill('#case_reference', 'IG-2026-115');
    await press(page, 'Look');
    await says(page, 'Nothing was sent');
    page.wrong.length = 0;
    await page.getByRole('link', { name: 'Go to the home page' }).click();
    // The provider still knows them, and asks nothing.
    await page.getByRole('button', { name: /^Sign in/ }).click();
    await page.getByRole('button', { name: 'Sign out', exact: true }).waitFor();
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
  'a ledger that takes longer is verified with its progress shown': async () => {
    const page = await person();
    await signIn(page, 'auditor.trafford-council.TRF-AUD-3');
    // So many are not in the index for searching yet, unless it was quicker: the page says how far it is, and comes again by itself.
    let searched;
    for (let grown = 0; grown < 4 && searched?.status() !== 503; grown++) {
      await ask('grow 300000');
      searched = await page.goto(`${base}/trail?kind=release`);
    }
    is(searched.status(), 503, 'the index is being made');
    is(searched.headers().refresh, '15', 'it comes again');
    await says(page, 'The index for searching is being made');
    if (!/It has \d+ of \d+ entries/.test(await page.locator('main').innerText())) throw new Error(await page.locator('main').innerText());
    page.wrong.length = 0; // the browser says that it was answered 503
    await check(page, 'index-building').catch((error) => { if (!/Execution context|title|destroyed|closed/.test(String(error))) throw error; });
    page.wrong.length = 0;
    await go(page, '/ledger');
    await Promise.all([page.waitForEvent('framenavigated', { timeout: 30_000 }), press(page, 'Verify it now')]);
    await page.waitForLoadState();
    await says(page, 'It is being verified');
    is(await page.getByRole('button', { name: 'Verify it now' }).count(), 0, 'ways to begin another');
    await check(page, 'ledger-progress').catch((error) => { if (!/Execution context|title|destroyed|closed/.test(String(error))) throw error; });
    // It comes again by itself until it is done.
    await page.getByText('The ledger is sound').first().waitFor({ timeout: 120_000 });
    await says(page, 'The ledger is sound');
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
