// The pictures of README.md, taken of a running demonstration.
//
//   target/release/concordat demo &
//   node tests/acceptance/browser/screenshots.mjs target/browser/node_modules https://localhost:8447 docs/pictures
//
// It signs in as people of the demonstration and changes nothing.
import { mkdirSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { smaller } from './png.mjs';

const [modules, base, folder] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(`${modules}/playwright-core/index.mjs`));
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] });
mkdirSync(folder, { recursive: true });

/** A page of somebody's, by their identifier at the demonstration's provider. */
const person = async (id, colorScheme = 'light') => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, colorScheme, viewport: { width: 1000, height: 760 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${base}/sign-in?to=/`);
  await page.locator(`a[href*="who=${id}"]`).click();
  await page.waitForURL((url) => url.href.startsWith(base));
  return page;
};
const take = async (page, name, height = 760) => {
  await page.setViewportSize({ width: 1000, height });
  const picture = smaller(await page.screenshot());
  if (picture.length > 120_000) throw new Error(`${name}: ${picture.length} bytes`);
  writeFileSync(`${folder}/${name}.png`, picture);
  console.log(`${name}: ${picture.length} bytes`);
};

const officer = await person('TRF-IG-1');
await take(officer, 'home', 960);
const auditor = await person('TRF-AUD-3');
await auditor.goto(`${base}/trail?kind=release&purpose=fire-prevention-targeting`);
await auditor.getByRole('link', { name: /^The decision/ }).first().click();
await take(auditor, 'decision', 1700);
await officer.goto(`${base}/agreements`);
await officer.locator('main table a').first().click();
await take(officer, 'agreement', 1400);
const resident = await person('resident-1', 'dark');
await resident.goto(`${base}/my-data`);
await take(resident, 'resident', 1000);
await browser.close();
