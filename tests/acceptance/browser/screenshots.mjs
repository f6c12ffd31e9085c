// The pictures of README.md, taken of a running demonstration.
//
//   target/release/concordat demo &
//   node tests/acceptance/browser/screenshots.mjs target/browser/node_modules https://localhost:8447 docs/pictures
//
// It signs in as people of the demonstration and changes nothing.
import { writeFileSync } from 'node:fs';
import { open } from './browser.mjs';
import { smaller } from './png.mjs';

const [modules, base, folder] = process.argv.slice(2);
const { browser, as } = await open(modules, base, folder);

/** A page of somebody's, by their identifier at the demonstration's provider. */
const person = (id, colorScheme = 'light') => as(id, { colorScheme, viewport: { width: 1000, height: 760 }, reducedMotion: 'reduce' });
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
