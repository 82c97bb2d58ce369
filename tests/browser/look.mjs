// How a page is looked at in Chromium: as a person with a phone, and for what can be wrong with any page.
//
// BROWSER_MODULES is a directory with node_modules, CHROMIUM the browser; with SCREENSHOTS set, a picture of every page
// is left in that directory.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const modules = createRequire(join(process.env.BROWSER_MODULES, 'package.json'));
const { chromium } = modules('playwright-core');
const axe = modules('axe-core');

const shots = process.env.SCREENSHOTS;
const work = mkdtempSync(join(tmpdir(), 'gift-page-'));
if (shots) mkdirSync(shots, { recursive: true });

export const LANGUAGES = ['ko', 'en'];
// The narrowest phone there is to be room on, what WCAG 1.4.10 asks for, and a desk.
export const WIDTHS = [360, 320, 1280];

const CAKE = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 120"><rect width="120" height="120" fill="#fbe4d8"/>
<ellipse cx="60" cy="96" rx="46" ry="8" fill="#e8c7b4"/><path d="M22 62h76v26c0 6-17 10-38 10s-38-4-38-10z" fill="#fff7ef"/>
<path d="M22 72c10 6 66 6 76 0v6c-10 6-66 6-76 0z" fill="#ec5f78"/><ellipse cx="60" cy="62" rx="38" ry="10" fill="#fff"/>
<path d="M60 36c9 0 13 7 11 14-2 6-7 10-11 10s-9-4-11-10c-2-7 2-14 11-14z" fill="#e2384f"/><path d="M52 38l8-7 8 7-8 3z" fill="#4e9a63"/></svg>`;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
// What the browser itself complained about.
export const complaints = [];

export async function person(options) {
  const context = await browser.newContext({
    viewport: { width: WIDTHS[0], height: 740 },
    deviceScaleFactor: 2,
    hasTouch: true,
    reducedMotion: 'reduce',
    ...options,
  });
  // The only other host there is: the product's picture.
  await context.route('https://images.example/**', (route) => {
    route.fulfill({ contentType: 'image/svg+xml', body: CAKE });
  });
  const page = await context.newPage();
  page.on('console', (message) => {
    // An answer of 404 is said there too; what we mean are broken policies.
    if (/content security policy|refused to/i.test(message.text())) complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`));
  return { context, page };
}

export async function shoot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

// No serious or critical finding of axe-core.
export async function accessible(page, name) {
  await page.evaluate(axe.source);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  assert(result.passes.length > 5, `${name}: axe-core looked at next to nothing`);
  const grave = result.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(told, [], name);
}

// Nothing is wider than the screen, and whatever is to be touched is large enough for a thumb.
export async function fits(page, name) {
  const found = await page.evaluate(() => {
    const wide = document.scrollingElement.scrollWidth - document.documentElement.clientWidth;
    const texts = [...document.querySelectorAll('main *, footer *')].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.width > 0 && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
    });
    const small = [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter((node) => {
      const inText = node.closest('.notice') !== null;
      return node.getBoundingClientRect().height < (inText ? 24 : 44);
    });
    return { wide, texts: texts.map((node) => node.outerHTML.slice(0, 120)), small: small.map((node) => node.outerHTML) };
  });
  assert.equal(found.wide, 0, `${name} scrolls sideways by ${found.wide} px`);
  assert.deepEqual(found.texts, [], `${name}: beyond the edge`);
  assert.deepEqual(found.small, [], `${name}: too small to touch`);
}

// What a scanner at the till reads off the screen.
export async function scans(page, name, number) {
  const path = join(work, 'screen.png');
  await page.screenshot({ path, fullPage: true });
  const read = execFileSync('zbarimg', ['--quiet', '--nodbus', '-Sdisable', '-Sqrcode.enable', '-Scode128.enable', path]);
  const plain = number.replaceAll(' ', '');
  assert.deepEqual(read.toString().trim().split('\n').sort(), [`CODE-128:${plain}`, `QR-Code:${plain}`], name);
  assert.equal((await page.locator('.code').innerText()).trim(), number, name);
}

export function guarded(response, name) {
  const headers = response.headers();
  assert.equal(headers['cache-control'], 'no-store', name);
  assert.equal(headers['referrer-policy'], 'no-referrer', name);
  assert.match(headers['x-robots-tag'], /noindex/, name);
  assert.match(headers['content-security-policy'], /^default-src 'none'; style-src 'sha256-/, name);
  assert.equal(headers.vary, 'Accept-Language', name);
}

// At every width there is room on; a picture at that of a phone.
export async function atEveryWidth(page, name, atPhone = async () => {}) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 740 });
    await fits(page, `${name} at ${width} px`);
    if (width === WIDTHS[0]) {
      await shoot(page, name);
      await atPhone();
    }
  }
  await page.setViewportSize({ width: WIDTHS[0], height: 740 });
}

export async function done() {
  await browser.close();
  rmSync(work, { recursive: true });
}
