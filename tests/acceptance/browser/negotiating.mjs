// What people do with agreements in the console, and after a breach.
import { start } from './journey.mjs';

const { base, facts, person, signIn, prove, check, picture, advance, is, says, go, press, run } = await start();

const nhs = 'ig-officer.nhs-england.NHS-IG-1';
const fire = 'ig-officer.gmca.GMFRS-IG-1';
const hostile = '<script>window.broken = 1</script>';
const script = '<img src=x onerror=window.broken=1>';
const csrfOf = (page) => page.locator('input[name=csrf]').first().inputValue();
const csrfAtHome = async (page) => { await page.goto(`${base}/`); return csrfOf(page); };

const journeys = {
  'two write terms at once, and nobody loses a word': async () => {
    const [one, other] = [await person(), await person()];
    await signIn(one, nhs);
    await signIn(other, fire);
    for (const page of [one, other]) {
      await go(page, '/agreements/negotiated');
      await page.getByRole('link', { name: 'Negotiation', exact: true }).click();
      await page.getByRole('link', { name: 'Propose other terms' }).click();
    }
    await says(one, 'Nothing is sent yet');
    await check(one, 'terms-editor');
    // A field that cannot be read says so, and what was written stays.
    await one.fill('#ends_on', 'in two years');
    await one.fill('#title', `Visits ${hostile}`);
    await press(one, 'See what would change');
    await says(one, 'A day, such as 1 April 2027');
    is(await one.inputValue('#title'), `Visits ${hostile}`, 'the title');
    await check(one, 'terms-editor-wrong');
    await one.fill('#ends_on', '2028-05-01');
    await one.fill('#flows-0-releases_per_day_max', '200');
    await one.selectOption('#flows-0-items-1-form', 'year');
    await press(one, 'See what would change');
    await says(one, 'flows[at-risk].items[person.birth_date].form');
    await says(one, 'Widens');
    await check(one, 'terms-preview');
    await press(one, 'Send it');
    await says(one, 'Choose why');
    await one.selectOption('#reason', 'not-enough');
    await one.fill('#text', hostile);
    await one.fill('#interest', script);
    // It is changed once more, and the words come back with it.
    await press(one, 'Change something');
    is(await one.inputValue('#ends_on'), '2028-05-01', 'the end');
    await press(one, 'See what would change');
    is(await one.inputValue('#text'), hostile, 'the words');
    await press(one, 'Send it');
    await says(one, 'Counter proposed');
    await check(one, 'agreement-countered');
    // The second has written something else meanwhile, over the version that they had opened.
    await other.uncheck('#flows-1-items-0-keep');
    await other.selectOption('#flows-1-new', 'person.gender:as-is');
    await other.fill('#owner', 'Head of Home Safety');
    await press(other, 'See what would change');
    await says(other, 'Say why the purpose cannot be met without it');
    is(await other.locator('#flows-1-items-1-keep').count(), 1, 'the items after one went and one came');
    await other.fill('#flows-1-items-1-justification', 'Who opens the door.');
    await press(other, 'See what would change');
    await says(other, 'flows[visits].items[person.gender]');
    await says(other, 'flows[visits].items[person.family_name]');
    await other.selectOption('#reason', 'unclear');
    await other.fill('#text', 'The owner has another title now.');
    await press(other, 'Send it');
    await says(other, 'Somebody else was first');
    await says(other, 'What they changed: version 1 to version 2');
    await says(other, 'Head of Home Safety');
    is(await other.inputValue('#text'), 'The owner has another title now.', 'the words of the second');
    await check(other, 'terms-second');
    await press(other, 'Send it');
    await says(other, 'On its way: version 3');
    await go(other, '/agreements/negotiated/versions/3');
    await check(other, 'agreement-version');
    await go(other, '/agreements/negotiated/diff?from=2&to=3');
  },
  'terms are written as text, and kept while somebody proves who they are': async () => {
    const page = await person();
    await signIn(page, nhs);
    await go(page, '/agreements/negotiated/terms?as=text');
    await check(page, 'terms-text');
    const before = await page.inputValue('#all');
    await page.fill('#all', '{ "title": ');
    await press(page, 'See what would change');
    await says(page, 'This is no JSON from line 1');
    is(await page.inputValue('#all'), '{ "title":', 'the text');
    await check(page, 'terms-text-wrong');
    await page.fill('#all', before.replace('"separate"', '"sovereign"'));
    await press(page, 'See what would change');
    await says(page, 'There is a problem');
    await page.fill('#all', before.replace('"title": "', '"title": "Home safety: '));
    await press(page, 'See what would change');
    await says(page, 'Home safety');
    await page.selectOption('#reason', 'other');
    await page.fill('#text', 'A title that residents know.');
    await advance(400);
    await press(page, 'Send it');
    await check(page, 'prove');
    await press(page, 'Sign in again');
    await prove(page, nhs);
    is(await page.inputValue('#text'), 'A title that residents know.', 'the words');
    await says(page, 'Home safety');
    await press(page, 'Send it');
    await says(page, 'On its way: version 4');
    // What was sent is not kept any more; what is thrown away neither.
    await go(page, '/agreements/negotiated/terms');
    is(await page.getByText('This is what you wrote').count(), 0, 'what was kept');
    await page.fill('#owner', 'Nobody');
    await press(page, 'See what would change');
    await go(page, '/agreements/negotiated/terms');
    is(await page.inputValue('#owner'), 'Nobody', 'what was kept');
    const colleague = await person();
    await signIn(colleague, 'ig-officer.nhs-england.NHS-IG-2');
    await go(colleague, '/agreements/negotiated/terms');
    is(await colleague.inputValue('#owner'), 'Head of Home Safety', 'what a colleague sees');
    await press(page, 'Begin again from version 4');
    is(await page.inputValue('#owner'), 'Head of Home Safety', 'the owner');
  },
  'whoever may not write terms is told so': async () => {
    for (const [login, status] of [
      ['caldicott-guardian.nhs-england.NHS-CG-1', 403], ['privacy-officer.nhs-england.NHS-PO-1', 403],
      ['auditor.trafford-council.TRF-AUD-3', 403], ['signatory.nhs-england.siro', 403],
      ['ig-officer.trafford-council.TRF-IG-1', 404], ['citizen.-.resident-1.9732110317', 403],
    ]) {
      const page = await person();
      await signIn(page, login);
      await go(page, '/agreements/negotiated/terms', status);
      const csrf = await csrfAtHome(page);
      const form = { csrf, do: 'send', base: '4', revision: '5', reason: 'other', terms: '{}' };
      const sent = await page.request.post(`${base}/agreements/negotiated/terms`, { form, headers: { origin: base }, maxRedirects: 0 });
      is(sent.status(), status, `sent by ${login}`);
    }
    // Terms that are being signed are not written.
    const page = await person();
    await signIn(page, nhs);
    await go(page, '/agreements/pilot/terms', 409);
    await says(page, 'whoever convened it can take the proposal back');
  },
  'a clause is commented on, answered and resolved': async () => {
    const [one, other] = [await person(), await person()];
    await signIn(one, nhs);
    await go(one, '/agreements/negotiated/talks');
    await check(one, 'talks');
    await one.getByText('Comment on a clause of version 4').click();
    await press(one, 'Comment');
    await says(one, '1 to 2000 characters');
    await check(one, 'talks-wrong');
    await one.selectOption('#comment-clause', '/flows/0/items/1');
    await one.fill('#comment-text', hostile);
    await one.fill('#comment-position', script);
    await one.fill('#comment-interest', 'Crews must not walk in on oxygen.');
    await one.check('#comment-blocking');
    await press(one, 'Comment');
    await says(one, 'Name who has to answer');
    is(await one.inputValue('#comment-text'), hostile, 'the words');
    await one.selectOption('#comment-owner', 'gmca');
    await one.fill('#comment-owner_person', 'GMFRS-IG-1');
    await one.fill('#comment-due_on', 'soon');
    await press(one, 'Comment');
    await says(one, 'A day, such as 18 December 2026');
    await one.fill('#comment-due_on', '2026-12-18');
    await press(one, 'Comment');
    await says(one, 'GMFRS-IG-1 of Greater Manchester Combined Authority (Fire and Rescue Service) has to answer by 18 December 2026');
    await says(one, 'Signing waits');
    await signIn(other, fire);
    await go(other, '/agreements/negotiated/talks');
    await says(other, 'item Date of birth');
    await other.getByText('Answer it, or be content').first().click();
    await other.locator('textarea[id$="-text"][name=text]').first().fill(`${script} a year would do`);
    await press(other, 'I am content');
    await says(other, 'Another party has to take this step');
    await press(other, 'Answer');
    await says(other, 'a year would do');
    await one.reload();
    await one.getByText('Answer it, or be content').first().click();
    await one.locator('textarea[id^="mat_"]').first().fill('Then we agree.');
    await press(one, 'I am content');
    await says(one, 'Answer it, or take it up again');
    await check(one, 'talks-resolved');
    const guest = await person();
    await signIn(guest, 'auditor.trafford-council.TRF-AUD-3');
    await go(guest, '/agreements/negotiated/talks');
    is(await guest.getByRole('button', { name: 'Comment', exact: true }).count(), 0, 'an auditor’s buttons');
    const csrf = await csrfOf(guest);
    const sent = await guest.request.post(`${base}/agreements/negotiated/comments`, { form: { csrf, version: '4', clause: '', text: 'x' }, headers: { origin: base } });
    is(sent.status(), 400, 'an auditor’s comment');
  },
  'a dispute is mediated, ended and published': async () => {
    const [one, other, mediator] = [await person(), await person(), await person()];
    await signIn(one, fire);
    await go(one, '/agreements/negotiated/talks');
    await one.getByText('Begin a dispute').click();
    await press(one, 'Begin it');
    await says(one, 'Choose whom it is with');
    await one.getByLabel('NHS England').check();
    await one.fill('#dispute-text', hostile);
    await one.selectOption('#dispute-reason', 'retention-too-long');
    await one.selectOption('#dispute-clause', '/flows/0/obligations');
    await press(one, 'Begin it');
    await says(one, 'Practitioners');
    await check(one, 'dispute');
    const path = new URL(one.url()).pathname;
    await press(one, 'Take the step');
    await says(one, 'Choose a step');
    await one.getByLabel('Agree to the outcome on the table').check();
    await press(one, 'Take the step');
    await says(one, 'No outcome is on the table');
    await check(one, 'dispute-refused');
    await signIn(mediator, 'mediator.trafford-council.TRF-MED-1');
    await go(mediator, path);
    await mediator.getByLabel('Offer to mediate').check();
    await press(mediator, 'Take the step');
    await says(mediator, 'Somebody of Trafford Council, Adult Social Care');
    await mediator.fill('#comment-text', `${script} what is it needed for?`);
    await press(mediator, 'Say it');
    await mediator.getByRole('link', { name: 'Put terms on the table' }).click();
    await mediator.fill('#flows-0-obligations-retain_days', '14');
    await press(mediator, 'See what would change');
    await says(mediator, 'Narrows');
    await mediator.fill('#text', 'Two weeks would do for both.');
    await press(mediator, 'Send it');
    await says(mediator, 'Two weeks would do for both.');
    await mediator.getByLabel('Put an outcome on the table').check();
    await mediator.selectOption('#act-outcome', 'terms-change');
    await mediator.fill('#act-text', 'Two weeks.');
    // A party says something in the meantime: the mediator reads that first.
    await one.goto(base + path);
    await one.fill('#comment-text', 'We could live with that.');
    await press(one, 'Say it');
    await press(mediator, 'Take the step');
    await says(mediator, 'Somebody else was first');
    is(await mediator.inputValue('#act-text'), 'Two weeks.', 'the mediator’s words');
    await check(mediator, 'dispute-second');
    await press(mediator, 'Take the step');
    await says(mediator, 'Terms change');
    await signIn(other, 'caldicott-guardian.nhs-england.NHS-CG-1');
    for (const page of [one, other]) {
      await page.goto(base + path);
      await page.getByLabel('Agree to the outcome on the table').check();
      await press(page, 'Take the step');
      await says(page, 'Once every party agrees, the dispute is over');
      await says(page, 'Other terms are proposed');
      await press(page, 'Yes, go on');
    }
    await says(other, 'Resolved');
    await says(other, 'agreed by Greater Manchester Combined Authority (Fire and Rescue Service)');
    await says(other, 'what the recipient takes on of version 4');
    is((await other.locator('main').innerText()).match(/\bof (gmca|nhs-england)\b/), null, 'organisations by their codes');
    await check(other, 'dispute-resolved');
    for (const page of [one, other]) {
      await page.goto(base + path);
      await page.getByLabel('Agree to publish it').check();
      await press(page, 'Take the step');
      await press(page, 'Yes, go on');
    }
    await go(one, '/agreements/negotiated/disputes/mat_00000000000000000000000000000000', 404);
  },
  'signatures are handed in, and wrong ones are refused in words': async () => {
    const page = await person();
    await signIn(page, 'signatory.nhs-england.siro');
    await go(page, '/agreements/pilot/signatures');
    await says(page, 'No signature is made in this page');
    await says(page, 'concordat agreement sign-file pilot-2.json --sha256');
    await says(page, '--role siro');
    await check(page, 'signatures');
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download the bytes' }).click()]);
    is(file.suggestedFilename(), 'pilot-2.json', 'the file');
    const [printed] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'download them as a PDF' }).click()]);
    is(printed.suggestedFilename(), 'pilot-2.pdf', 'the document');
    const refused = async (signature, words) => {
      await page.fill('#sign-signature', signature);
      await press(page, 'Hand it in');
      await says(page, words);
    };
    await refused('', 'Paste the signature');
    await refused('not a signature', 'is not a detached jws');
    await check(page, 'signatures-refused');
    await refused(facts.guardian, 'You hold no such office');
    await refused(facts.siro_as_guardian, 'You hold no such office');
    await refused(facts.siro_older, 'not the terms that are offered now');
    await refused(`${facts.siro.slice(0, -8)}AAAAAAAA`, 'does not verify');
    is(await page.locator('.govuk-tag', { hasText: 'Signed' }).count(), 0, 'signatures');
    // It is kept while they prove who they are, and not sent by itself.
    await page.fill('#sign-signature', facts.siro);
    await advance(400);
    await press(page, 'Hand it in');
    await press(page, 'Sign in again');
    await prove(page, 'signatory.nhs-england.siro');
    await says(page, 'It was not sent');
    is(await page.inputValue('#sign-signature'), facts.siro, 'the signature');
    await press(page, 'Hand it in');
    await says(page, 'siro), 23 November 2026');
    await check(page, 'signatures-signed');
    await refused(facts.siro, 'Somebody has signed in this role');
    const nobody = await person();
    await signIn(nobody, 'signatory.nhs-england.NHS-NEW-1');
    await go(nobody, '/agreements/pilot/signatures');
    await says(nobody, 'No office with a key is registered for you');
    await nobody.fill('#sign-signature', facts.guardian);
    await press(nobody, 'Hand it in');
    await says(nobody, 'You hold no such office');
    await go(nobody, '/alerts', 403);
    await go(nobody, '/trail', 403);
  },
  'a data protection officer advises, and the advice is answered': async () => {
    const [dpo, lead] = [await person(), await person()];
    await signIn(dpo, 'data-protection-officer.nhs-england.dpo');
    await go(dpo, '/agreements/pilot/signatures');
    is(await dpo.getByRole('button', { name: 'Hand it in' }).count(), 0, 'a data protection officer’s buttons');
    await press(dpo, 'Advise');
    await says(dpo, 'Say whether to go on');
    await check(dpo, 'signatures-advise');
    await dpo.getByLabel('Yes: it is favourable').check();
    await dpo.fill('#advise-text', hostile);
    await press(dpo, 'Advise');
    await says(dpo, 'Favourable');
    const csrf = await csrfOf(dpo);
    const post = (page, form) => page.request.post(`${base}/agreements/pilot/signatures`, { form, headers: { origin: base } });
    const sent = await post(dpo, { csrf, do: 'sign', signature: facts.guardian });
    is(sent.status(), 400, 'a signature of a data protection officer');
    if (!(await sent.text()).includes('You hold no such office')) throw new Error('it does not say why');
    await signIn(lead, 'caldicott-guardian.nhs-england.NHS-CG-1');
    await go(lead, '/agreements/pilot/signatures');
    await says(lead, 'window.broken'); // as text
    const advised = await post(lead, { csrf: await csrfOf(lead), do: 'advise', favourable: 'yes', text: 'x' });
    if (!(await advised.text()).includes('Only a registered data protection officer')) throw new Error('anybody advises');
    await lead.getByLabel('Yes, it is followed').check();
    await lead.fill('#answer-advice-text', 'As advised.');
    await press(lead, 'Answer it');
    await says(lead, 'Favourable followed');
    await check(lead, 'signatures-advised');
    for (const [login, status] of [['privacy-officer.nhs-england.NHS-PO-1', 403], ['ig-officer.trafford-council.TRF-IG-1', 404]]) {
      const stranger = await person();
      await signIn(stranger, login);
      for (const page of ['signatures', 'talks', 'impact', 'versions/2', 'versions/2/signed-bytes', 'versions/2/document.pdf']) await go(stranger, `/agreements/pilot/${page}`, status);
    }
  },
  'what a proposal would do, and what an agreement did': async () => {
    const page = await person();
    await signIn(page, nhs);
    await go(page, '/agreements/negotiated/impact');
    await says(page, 'What this version would have answered');
    await check(page, 'impact');
    await go(page, '/agreements/negotiated/impact?version=1');
    await go(page, '/agreements/negotiated/impact?version=99', 404);
    await go(page, `/agreements/${facts.in_file}`);
    await page.getByRole('link', { name: 'Use', exact: true }).click();
    await check(page, 'use');
    await page.selectOption('#kind', 'harm');
    await page.fill('#text', hostile);
    await press(page, 'Record it');
    await says(page, 'What went wrong');
    is(await page.inputValue('#text'), hostile, 'the words');
    await check(page, 'use-wrong');
    await page.selectOption('#reason', 'too-late');
    await press(page, 'Record it');
    await says(page, 'Too late');
    await page.selectOption('#kind', 'benefit');
    await page.fill('#text', `${script} three fires less`);
    await press(page, 'Record it');
    await says(page, 'three fires less');
    const auditor = await person();
    await signIn(auditor, 'auditor.trafford-council.TRF-AUD-3');
    await go(auditor, `/agreements/${facts.in_file}/use`);
    is(await auditor.getByRole('button', { name: 'Record it' }).count(), 0, 'an auditor’s buttons');
    const reviewer = await person();
    await signIn(reviewer, 'practitioner-reviewer.gmca.GMFRS-REV-1');
    await go(reviewer, `/agreements/${facts.in_file}/use`, 403);
    await go(reviewer, `/agreements/${facts.in_file}`);
  },
  'after a breach it is known who was concerned': async () => {
    const page = await person();
    const officer = 'privacy-officer.nhs-england.NHS-PO-1';
    await signIn(page, officer);
    await advance(400);
    await page.goto(`${base}/disclosed`);
    await prove(page, officer);
    await check(page, 'disclosed-form');
    await press(page, 'Find out');
    await says(page, 'Choose who received it');
    await page.selectOption('#recipient', 'gmca');
    await page.fill('#case_reference', '9732110317');
    await page.fill('#from', '2026-11-01');
    await press(page, 'Find out');
    await says(page, 'There is a problem');
    await check(page, 'disclosed-wrong');
    await page.fill('#case_reference', 'BREACH-7');
    await press(page, 'Find out');
    await says(page, 'person.family_name:as-is');
    await says(page, 'of the ledger');
    if ((await page.content()).includes('9732110317')) throw new Error('the page has the number');
    is(new URL(page.url()).search, '', 'what is in the address');
    await check(page, 'disclosed');
    await page.emulateMedia({ media: 'print' });
    await picture(page, 'disclosed-print');
    await page.emulateMedia({ media: 'screen' });
    const [file] = await Promise.all([page.waitForEvent('download'), press(page, 'Download it')]);
    const chunks = []; for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    const pack = JSON.parse(Buffer.concat(chunks).toString());
    is(pack.releases.length, 12, 'releases');
    is(pack.people, 1, 'people');
    is(pack.complete, true, 'complete');
    if (JSON.stringify(pack).includes('9732110317')) throw new Error('the file has the number');
    // Another organisation's officer sees what concerns its own.
    const other = await person();
    await signIn(other, 'privacy-officer.trafford-council.TRF-PO-2');
    await go(other, '/disclosed');
    await other.selectOption('#recipient', 'gmca');
    await other.fill('#from', '2026-11-01');
    await other.fill('#case_reference', 'BREACH-7');
    await press(other, 'Find out');
    await says(other, 'Nothing.');
    for (const login of ['mediator.trafford-council.TRF-MED-1', 'operator.trafford-council.TRF-OP-1', 'citizen.-.resident-1.9732110317']) {
      const stranger = await person();
      await signIn(stranger, login);
      await go(stranger, '/disclosed', 403);
      const form = { csrf: await csrfAtHome(stranger), recipient: 'gmca', from: '2026-11-01', case_reference: 'X-1' };
      is((await stranger.request.post(`${base}/disclosed`, { form, headers: { origin: base } })).status(), 403, login);
    }
  },
  'searches are kept by name, and nobody’s number with them': async () => {
    const page = await person();
    const officer = 'privacy-officer.nhs-england.NHS-PO-1';
    await signIn(page, officer);
    await go(page, '/trail');
    await press(page, 'Keep it');
    await says(page, 'Give it a name');
    await page.fill('#name', 'Everything');
    await press(page, 'Keep it');
    await says(page, 'Choose something to look for first');
    await go(page, '/trail?kind=release&practitioner=FIRE-77&case_reference=HFSA-1&reference=dec_1');
    await page.fill('#name', '973 211 0317');
    await press(page, 'Keep it');
    await says(page, 'may be somebody');
    await check(page, 'trail-not-kept');
    await go(page, '/trail?kind=release&practitioner=FIRE-77&case_reference=HFSA-1&reference=dec_1');
    await page.fill('#name', hostile);
    await press(page, 'Keep it');
    is(new URL(page.url()).search, '?kind=release', 'what is kept');
    await check(page, 'trail-kept');
    await go(page, '/trail?item=9732110317', 400);
    await says(page, 'is in no address');
    await page.fill('#name', 'A number');
    await press(page, 'Keep it');
    await says(page, 'no code that can be kept');
    await page.getByRole('link', { name: hostile }).click();
    await says(page, 'Newest first');
    const colleague = await person();
    await signIn(colleague, 'privacy-officer.nhs-england.NHS-PO-9');
    await go(colleague, '/trail');
    is(await colleague.getByRole('heading', { name: 'Your searches' }).count(), 0, 'a colleague’s searches');
    const csrf = await csrfOf(colleague);
    await colleague.request.post(`${base}/trail/forget`, { form: { csrf, name: hostile }, headers: { origin: base } });
    await go(page, '/trail');
    is(await page.getByRole('link', { name: hostile }).count(), 1, 'searches that a colleague deleted');
    await page.getByRole('button', { name: `Delete ${hostile}` }).click();
    is(await page.getByRole('heading', { name: 'Your searches' }).count(), 0, 'searches');
    const stranger = await person();
    await signIn(stranger, 'mediator.trafford-council.TRF-MED-1');
    const form = { csrf: await csrfAtHome(stranger), name: 'x', kind: 'release' };
    is((await stranger.request.post(`${base}/trail/keep`, { form, headers: { origin: base } })).status(), 403, 'a mediator’s search');
  },
  'the year, what is unusual, and the register are there to see': async () => {
    const page = await person();
    await signIn(page, nhs);
    await go(page, '/agreements');
    is(await page.getByRole('link', { name: 'public register' }).getAttribute('href'), 'https://register.example.org/register', 'the register');
    await page.getByRole('link', { name: /^The year/ }).click();
    await says(page, 'Is reviewed by this day');
    await check(page, 'calendar');
    await go(page, '/unusual');
    await says(page, 'Monday');
    await check(page, 'unusual');
    const stranger = await person();
    await signIn(stranger, 'mediator.trafford-council.TRF-MED-1');
    await go(stranger, '/unusual', 403);
    await go(stranger, '/agreements-year');
  },
  'agreements are negotiated without JavaScript': async () => {
    const page = await person({ javaScriptEnabled: false });
    await signIn(page, nhs);
    await go(page, '/agreements/negotiated/terms');
    await page.fill('#breach_contact', 'breach@nhs.example.org');
    await press(page, 'See what would change');
    await says(page, 'breach@nhs.example.org');
    await press(page, 'Throw it away');
    await go(page, '/agreements/negotiated/talks');
    await page.locator('summary', { hasText: 'Comment on a clause' }).click();
    await page.fill('#comment-text', 'Without a script.');
    await press(page, 'Comment');
    await says(page, 'Without a script.');
  },
  'a quarter later its use is there to review': async () => {
    const page = await person();
    await signIn(page, nhs);
    await advance(60 * 86_400);
    await page.goto(`${base}/agreements/${facts.in_file}/use`);
    if (await page.locator('input[name=login]').count()) await prove(page, nhs);
    await says(page, '2026-Q4');
    await says(page, '10');
    await check(page, 'use-quarter');
    is(await page.getByRole('button', { name: 'Record what is used' }).count(), 0, 'whoever gives them does not say what is used');
    const recipient = await person();
    await signIn(recipient, fire);
    await go(recipient, `/agreements/${facts.in_file}/use`);
    await press(recipient, 'Record what is used');
    await says(recipient, 'Say of one item at least whether it is used');
    await check(recipient, 'use-items-wrong');
    await recipient.check('#use-single-look-up-1');
    await recipient.check('#use-single-look-up-3-2');
    await press(recipient, 'Record what is used');
    await says(recipient, '1 to 2000 characters');
    is(await recipient.isChecked('#use-single-look-up-3-2'), true, 'what was chosen');
    await recipient.fill('#text-single-look-up', `${hostile} The band is not looked at.`);
    await press(recipient, 'Record what is used');
    await says(recipient, 'The band is not looked at.');
    await says(recipient, 'Released, and said not to be used');
    await check(recipient, 'use-items');
  },
  'what agreements are made under is there to read': async () => {
    const page = await person();
    await signIn(page, nhs);
    await page.goto(`${base}/agreements`);
    if (await page.locator('input[name=login]').count()) await prove(page, nhs);
    await page.getByRole('link', { name: 'Frameworks' }).click();
    await says(page, 'Greater Manchester Information Sharing Accord');
    await says(page, '1 June 2024');
    await check(page, 'frameworks');
    const reviewer = await person();
    await signIn(reviewer, 'practitioner-reviewer.gmca.GMFRS-REV-1');
    await go(reviewer, '/agreements-frameworks', 403);
    is(await reviewer.getByRole('link', { name: 'Frameworks' }).count(), 0, 'no link that leads nowhere');
  },
};

await run(journeys);
