// What every script of journeys has: a browser, words for what is done in it, and a way to run them.
//
//   node SCRIPT MODULES CONSOLE_URL PICTURES FACTS
//
// FACTS is JSON: what the test put into the gateway beforehand. A script says `ok NAME` or `FAILED NAME: …` for each journey, and
// `advance SECONDS` when time should pass, `grow ENTRIES` when the ledger should; a line that is written to it means that it has.
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { open } from './browser.mjs';

export const start = async () => {
  const [modules, base, pictures, text] = process.argv.slice(2);
  const facts = JSON.parse(text);
  const { browser, person, as, signIn, signOut, prove, check, picture, seen } = await open(modules, base, pictures);
  const input = createInterface({ input: process.stdin });
  const ask = async (what) => { console.log(what); await once(input, 'line'); };
  const advance = (seconds) => ask(`advance ${seconds}`);
  const is = (found, wanted, what) => { if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`); };
  const says = async (page, words) => {
    // A long page is there before all of it is.
    await page.waitForLoadState('domcontentloaded');
    const all = await page.locator('main').innerText();
    if (!all.includes(words)) throw new Error(`the page does not say "${words}":\n${all.slice(0, 1500)}`);
  };
  const go = async (page, path, status = 200) => is((await page.goto(base + path)).status(), status, path);
  const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

  const run = async (journeys) => {
    let failed = 0;
    const only = process.env.JOURNEY;
    for (const [name, journey] of Object.entries(journeys)) {
      if (only && !new RegExp(only).test(name)) continue;
      try {
        await journey();
        console.log(`ok ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED ${name}: ${String(error.stack ?? error).replaceAll('\n', '\n  ')}`);
        for (const context of browser.contexts()) for (const page of context.pages()) {
          const said = await page.locator('body').innerText().catch(() => '');
          console.log(`  at ${page.url().slice(0, 200)}: ${said.slice(0, 600).replaceAll('\n', ' / ')}`);
        }
      }
      for (const context of browser.contexts()) await context.close();
    }
    await browser.close();
    console.log(`done ${seen.length} pages, ${failed} journeys failed`);
    process.exit(failed ? 1 : 0);
  };

  return { base, facts, person, as, signIn, signOut, prove, check, picture, ask, advance, is, says, go, press, run };
};
