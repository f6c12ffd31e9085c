// Everybody of a running demonstration looks at what they are offered: every link that somebody is shown leads to a page that is theirs to
// see, and no page keeps anybody out.
//
//   node demonstration.mjs MODULES CONSOLE_URL PICTURES
//
// It changes nothing but the entries of who read what.
import { open } from './browser.mjs';

const [modules, base, pictures] = process.argv.slice(2);
const { browser, person, as, barriers } = await open(modules, base, pictures);

/** Pages of one kind are one page: identifiers, versions and searches apart. */
const kind = (url) => {
  const path = url.pathname.replace(/\/(agreements|decisions|alerts|referrals|exports|objections|rights-requests|disputes|versions|my-consent)\/[^/]+/g, '/$1/…');
  return url.search ? `${path}?${[...url.searchParams.keys()].sort().join('&')}` : path;
};
const LIMIT = 40;
const looked = new Set();
const wrong = [];

const people = await (async () => {
  const page = await person();
  await page.goto(`${base}/sign-in?to=/`);
  const links = page.locator('a[href*="who="]');
  return links.evaluateAll((all) => all.map((link) => new URL(link.href).searchParams.get('who')));
})();
if (people.length < 15) wrong.push(`only ${people.length} people can sign in`);

for (const who of people) {
  const page = await as(who);
  const [waiting, seen] = [[page.url()], new Set([kind(new URL(page.url()))])];
  while (waiting.length && seen.size <= LIMIT) {
    const address = waiting.shift();
    const answer = await page.goto(address).catch((error) => {
      if (!String(error).includes('Download is starting')) throw error;
    });
    if (!answer) continue; // a file
    const where = `${who} at ${address.slice(base.length)}`;
    // What asks who somebody is once more is no page of a role.
    if (answer.status() !== 200) wrong.push(`${where}: ${answer.status()}`);
    for (const said of page.wrong.splice(0)) wrong.push(`${where}: ${said}`);
    if (!(answer.headers()['content-type'] ?? '').startsWith('text/html')) continue;
    const headings = await page.locator('h1').count();
    if (headings !== 1) wrong.push(`${where}: ${headings} headings of the first level`);
    const of = kind(new URL(page.url()));
    if (!looked.has(of)) {
      looked.add(of);
      for (const found of await barriers(page, where)) wrong.push(found);
    }
    const links = await page.locator('a[href]').evaluateAll((all) => all.map((link) => link.href));
    for (const link of links) {
      const url = new URL(link);
      if (url.origin !== base) continue;
      url.hash = '';
      if (seen.has(kind(url))) continue;
      seen.add(kind(url));
      waiting.push(url.href);
    }
  }
  console.log(`${who}: ${seen.size} kinds of pages`);
  await page.context().close();
}
await browser.close();
for (const one of wrong) console.log(`FAILED ${one}`);
console.log(`${people.length} people, ${looked.size} kinds of pages, ${wrong.length} problems`);
process.exit(wrong.length ? 1 : 0);
