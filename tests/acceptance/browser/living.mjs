// What people do in the console with an agreement that is in force.
import { start } from './journey.mjs';

const { person, signIn, check, is, says, go, press, run } = await start();

const nhs = 'ig-officer.nhs-england.NHS-IG-1';
const fire = 'ig-officer.gmca.GMFRS-IG-1';
const colleague = 'ig-officer.gmca.GMFRS-IG-2';
const take = async (page, step, text, choose = {}) => {
  await page.selectOption('#step', step);
  await page.fill('#text', text);
  for (const [field, value] of Object.entries(choose)) await page.selectOption(`#${field}`, value);
  await press(page, 'Take it');
};
const opened = async (login) => {
  const page = await person();
  await signIn(page, login);
  await go(page, '/agreements/pilot');
  return page;
};

const journeys = {
  'one flow, or what a party gives and gets, is switched off and on again': async () => {
    const page = await opened(fire);
    await check(page, 'agreement-in-force');
    await take(page, 'suspend', '', { scope: 'flow:at-risk', reason: 'breach' });
    await says(page, 'Say why');
    is(await page.inputValue('#scope'), 'flow:at-risk', 'what was chosen');
    await take(page, 'suspend', 'A laptop is lost.', { scope: 'flow:at-risk', reason: 'breach' });
    await says(page, 'Switched off');
    await says(page, 'The flow at-risk, by');
    await check(page, 'agreement-flow-off');
    is(await page.locator('#step option[value=resume]').count(), 0, 'ways to switch on again what one has switched off');
    await says(page, 'What you cannot do yet, and why');
    await says(page, 'A second person has to confirm it.');
    const second = await opened(colleague);
    await take(second, 'resume', 'It was found.', { scope: 'flow:at-risk' });
    is(await second.getByText('The flow at-risk, by').count(), 0, 'what is switched off');
    const other = await opened(nhs);
    await take(other, 'suspend', 'They answer nobody.', { scope: 'party:gmca', reason: 'obligations-not-kept' });
    await says(other, 'Switched off');
  },
  'a review says when the next one is': async () => {
    const page = await opened(nhs);
    await take(page, 'reviewed', 'It works.');
    await says(page, 'A day, such as 1 April 2028');
    await check(page, 'agreement-review-wrong');
    await page.fill('#next_on', '2027-11-01');
    await press(page, 'Take it');
    await says(page, 'It works.');
    is(await page.getByText('There is a problem').count(), 0, 'problems');
  },
  'an organisation leaves': async () => {
    const page = await opened(fire);
    await take(page, 'exit', 'Another service does it now.');
    await says(page, 'Check before you go on');
    await says(page, 'Another service does it now.');
    await press(page, 'No, go back');
    is(await page.locator('.govuk-tag', { hasText: 'Exited' }).count(), 0, 'who has left before they are sure');
    is(await page.inputValue('#text'), 'Another service does it now.', 'what they wrote');
    await press(page, 'Take it');
    await press(page, 'Yes, go on');
    await says(page, 'Exited');
    await says(page, 'Without Greater Manchester Combined Authority (Fire and Rescue Service): nothing goes to or comes from whoever has left.');
    await check(page, 'agreement-left');
  },
};

await run(journeys);
