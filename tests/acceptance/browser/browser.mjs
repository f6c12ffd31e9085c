// Real browsers, and what every page has to be. Used by journeys.mjs.
//
// PICTURES=1 leaves a picture of each page, three times: light, dark and narrow. On PostgreSQL the journeys are made again and
// pages are not looked at again: how they look does not depend on the database.
import { existsSync, readFileSync, mkdirSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

export const open = async (modules, base, pictures) => {
  const { chromium } = await import(pathToFileURL(`${modules}/playwright-core/index.mjs`));
  const axe = readFileSync(`${modules}/axe-core/axe.min.js`, 'utf8');
  const looked = !process.env.CONCORDAT_TEST_POSTGRES;
  const pictured = Boolean(process.env.PICTURES);
  if (pictured) mkdirSync(pictures, { recursive: true });
  const executablePath = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((path) => existsSync(path));
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const titles = new Map();
  const seen = [];

  /** A browser of somebody's own. What goes wrong in it is collected. */
  const person = async (options = {}) => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    page.wrong = [];
    page.on('console', (message) => { if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) page.wrong.push(message.text()); });
    page.on('pageerror', (error) => page.wrong.push(String(error)));
    page.on('dialog', (dialog) => { page.wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (!['localhost', ''].includes(url.hostname) && page.url().startsWith(base)) page.wrong.push(`asked elsewhere: ${url.hostname}`);
    });
    return page;
  };

  /** Signs in at the provider's own page. */
  const signIn = async (page, login, to = '/') => {
    await page.goto(base + to);
    const button = page.getByRole('button', { name: 'Sign in' });
    if (await button.count()) await button.first().click();
    await prove(page, login);
  };

  /** Somebody of the demonstration, who has just signed in at its provider: a page of their own. */
  const as = async (who, options = {}) => {
    const page = await person(options);
    await page.goto(`${base}/sign-in?to=/`);
    await page.locator(`a[href*="who=${who}"]`).first().click();
    await page.waitForURL((url) => url.href.startsWith(base));
    page.wrong.length = 0; // what the provider's own page does is its own
    return page;
  };

  /** Says who one is, where the provider asks. */
  const prove = async (page, login) => {
    await page.waitForSelector('input[name=login]');
    await page.fill('input[name=login]', login);
    await page.fill('input[name=password]', 'x');
    await page.click('button[type=submit]');
    await page.waitForURL((url) => url.href.startsWith(base));
    page.wrong.length = 0; // what the provider's own page does is its own
  };

  /** Signs out, here and at the provider. */
  const signOut = async (page) => {
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    const onward = page.getByRole('button', { name: 'Sign out of the sign-in service' });
    const asked = page.locator('button[name=logout][value=yes]');
    await onward.or(asked).first().waitFor();
    // The console's script goes on by itself; without it there is a button.
    if (new URL(page.url()).origin === base) await onward.click().catch(() => {});
    await asked.click();
    await page.waitForURL((url) => url.href.startsWith(base));
    page.wrong.length = 0;
  };

  /** Keeps a picture of a page for people to look at. */
  const picture = async (page, name) => {
    if (pictured) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  };

  /** Finds what keeps people out: all of it, or what of it depends on colours. */
  const barriers = async (page, look, { colours = false } = {}) => {
    if (!await page.evaluate(() => Boolean(window.axe))) await page.evaluate(axe);
    const found = await page.evaluate((only) => window.axe.run(document, { runOnly: only }),
      colours ? ['color-contrast', 'link-in-text-block'] : ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']);
    return found.violations.map((violation) => `axe, ${look}, ${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  };

  /** What every page has to be. */
  const check = async (page, name, { script = true } = {}) => {
    const problems = [...page.wrong.splice(0)];
    const html = await page.content();
    if (Buffer.byteLength(html) > 100_000) problems.push(`${Buffer.byteLength(html)} bytes`);
    if (await page.locator('h1').count() !== 1) problems.push(`${await page.locator('h1').count()} h1`);
    const title = await page.title();
    const path = new URL(page.url()).pathname.replace(/(alt|dec|exp|con|obj|rrq|mat)_[0-9a-f]+/, 'one');
    if (titles.has(title) && titles.get(title) !== path && !title.includes('cannot see')) problems.push(`the title of ${titles.get(title)}: ${title}`);
    titles.set(title, path);
    if (/\b\d{10}\b/.test(page.url())) problems.push(`a number in the address: ${page.url()}`);
    if (script && looked) {
      problems.push(...await barriers(page, 'light'));
      await page.emulateMedia({ colorScheme: 'dark' });
      problems.push(...await barriers(page, 'dark', { colours: true }));
      await picture(page, `${name}-dark`);
      await page.emulateMedia({ colorScheme: 'light' });
    }
    if (script) {
      // As it travels, without pictures; from a cache or not.
      const weight = await page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter((one) => !/\.(png|svg|jpe?g)$/.test(one.name)).reduce((sum, one) => sum + one.encodedBodySize, 0));
      if (weight === 0 || weight > 100_000) problems.push(`it weighs ${weight} bytes`);
      if (await page.evaluate(() => window.broken)) problems.push('a stored script ran');
    }
    await picture(page, name);
    if (looked) {
      await page.setViewportSize({ width: 320, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth).catch(() => 320);
      if (wide > 320) problems.push(`${wide} wide at 320`);
      await picture(page, `${name}-320`);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    seen.push(name);
    if (problems.length) throw new Error(`${name}: ${problems.join('\n  ')}`);
  };

  return { browser, person, as, signIn, signOut, prove, check, barriers, picture, seen };
};
