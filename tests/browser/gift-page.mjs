// Opens every page of a gift in Chromium, as a person with a phone would, and fails at the first thing that is wrong.
//
//     node gift-page.mjs BASE-URL DIGITS LETTERS
//
// BASE-URL serves the gifts of api/pages/tests/support; DIGITS and LETTERS are the numbers of its vouchers.
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

const [base, digits, letters] = process.argv.slice(2);
const shots = process.env.SCREENSHOTS;
const work = mkdtempSync(join(tmpdir(), 'gift-page-'));
if (shots) mkdirSync(shots, { recursive: true });

// The pages without a form that was sent, and the status of each.
const PAGES = {
  arrived: 200,
  bare: 200,
  hostile: 200,
  accepted: 200,
  long: 200,
  'accepted/transfer': 200,
  used: 410,
  expired: 410,
  refunded: 410,
  transferred: 410,
  cancelled: 410,
  'not-yet': 200,
  nobody: 404,
  busy: 429,
  down: 503,
  malformed: 400,
};
const LANGUAGES = ['ko', 'en'];
// The narrowest phone there is to be room on, what WCAG 1.4.10 asks for, and a desk.
const WIDTHS = [360, 320, 1280];

const CAKE = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 120"><rect width="120" height="120" fill="#fbe4d8"/>
<ellipse cx="60" cy="96" rx="46" ry="8" fill="#e8c7b4"/><path d="M22 62h76v26c0 6-17 10-38 10s-38-4-38-10z" fill="#fff7ef"/>
<path d="M22 72c10 6 66 6 76 0v6c-10 6-66 6-76 0z" fill="#ec5f78"/><ellipse cx="60" cy="62" rx="38" ry="10" fill="#fff"/>
<path d="M60 36c9 0 13 7 11 14-2 6-7 10-11 10s-9-4-11-10c-2-7 2-14 11-14z" fill="#e2384f"/><path d="M52 38l8-7 8 7-8 3z" fill="#4e9a63"/></svg>`;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
const complaints = [];

async function person(options) {
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

async function shoot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

// No serious or critical finding of axe-core.
async function accessible(page, name) {
  await page.evaluate(axe.source);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  assert(result.passes.length > 5, `${name}: axe-core looked at next to nothing`);
  const grave = result.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = grave.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(told, [], name);
}

// Nothing is wider than the screen, and whatever is to be touched is large enough for a thumb.
async function fits(page, name) {
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
async function scans(page, name, number) {
  const path = join(work, 'screen.png');
  await page.screenshot({ path, fullPage: true });
  const read = execFileSync('zbarimg', ['--quiet', '--nodbus', '-Sdisable', '-Sqrcode.enable', '-Scode128.enable', path]);
  const plain = number.replaceAll(' ', '');
  assert.deepEqual(read.toString().trim().split('\n').sort(), [`CODE-128:${plain}`, `QR-Code:${plain}`], name);
  assert.equal((await page.locator('.code').innerText()).trim(), number, name);
}

async function changes() {
  return (await fetch(`${base}/changes`)).text();
}

function guarded(response, name) {
  const headers = response.headers();
  assert.equal(headers['cache-control'], 'no-store', name);
  assert.equal(headers['referrer-policy'], 'no-referrer', name);
  assert.match(headers['x-robots-tag'], /noindex/, name);
  assert.match(headers['content-security-policy'], /^default-src 'none'; style-src 'sha256-/, name);
  assert.equal(headers.vary, 'Accept-Language', name);
}

// Every page in both languages, by day and by night.
async function everyPage() {
  for (const colorScheme of ['light', 'dark']) {
    const { context, page } = await person({ colorScheme });
    for (const language of LANGUAGES) {
      for (const [path, status] of Object.entries(PAGES)) {
        const name = `${path.replace('/', '-')}-${language}-${colorScheme}`;
        const response = await page.goto(`${base}/g/${path}?lang=${language}`);
        assert.equal(response.status(), status, name);
        guarded(response, name);
        assert.equal(await page.getAttribute('html', 'lang'), language, name);
        assert.notEqual(await page.title(), 'owned', name);
        assert.equal(await page.locator('script').count(), 0, name);
        // The style sheet is the one that the policy allows.
        assert.equal(await page.locator('main').evaluate((main) => getComputedStyle(main).maxWidth), '480px', name);
        await accessible(page, name);
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 740 });
          await fits(page, `${name} at ${width} px`);
          if (width === WIDTHS[0]) {
            await shoot(page, name);
            if (path === 'accepted') await scans(page, name, digits);
            if (path === 'long') await scans(page, name, letters);
          }
        }
        await page.setViewportSize({ width: WIDTHS[0], height: 740 });
      }
    }
    await page.goto(`${base}/g/arrived?lang=ko`);
    const picture = page.locator('.product img');
    assert.equal(await picture.evaluate((img) => img.complete && img.naturalWidth > 0), true, 'the picture is shown');
    await context.close();
  }
}

// A picture that cannot be had leaves a quiet place, not the sign of something broken.
async function withoutThePicture() {
  const { context, page } = await person({});
  await context.route('https://images.example/**', (route) => route.abort());
  await page.goto(`${base}/g/arrived?lang=ko`);
  const picture = page.locator('.product img');
  await page.waitForFunction(() => document.querySelector('.product img').complete);
  assert.equal(await picture.evaluate((img) => img.getBoundingClientRect().width), 0);
  await shoot(page, 'no-picture');
  await context.close();
}

// The language of whoever asks, and the way to the other one.
async function language() {
  for (const [locale, tag] of [['ko-KR', 'ko'], ['en-US', 'en'], ['fr-FR', 'ko']]) {
    const { context, page } = await person({ locale });
    await page.goto(`${base}/g/arrived`);
    assert.equal(await page.getAttribute('html', 'lang'), tag, locale);
    await page.locator('a.switch').click();
    assert.equal(await page.getAttribute('html', 'lang'), tag === 'ko' ? 'en' : 'ko', locale);
    await context.close();
  }
}

// Previews are fetched with GET and HEAD, by machines and more than once.
async function gettingChangesNothing() {
  for (const path of [...Object.keys(PAGES), 'arrived/accept', 'accepted/transfer/confirm']) {
    for (const method of ['GET', 'HEAD']) {
      const { status } = await fetch(`${base}/g/${path}`, { method, redirect: 'manual' });
      assert.equal(status, PAGES[path] ?? 405, `${method} ${path}`);
    }
  }
  assert.equal(await changes(), '');
}

// A gift is accepted and passed on, without JavaScript and by touch.
async function withoutScripts() {
  const { context, page } = await person({ javaScriptEnabled: false });
  await page.goto(`${base}/g/to-pass-on?lang=en`);
  // Somebody has the same page open, and presses later.
  const second = await context.newPage();
  await second.goto(`${base}/g/to-pass-on?lang=en`);

  await page.locator('.action button').tap();
  await page.locator('.code').waitFor();
  assert.equal(page.url(), `${base}/g/to-pass-on?lang=en`, 'after a POST comes the page itself');
  assert.equal(await changes(), 'accepted to-pass-on');
  await page.reload();
  await second.locator('.action button').tap();
  await second.locator('.code').waitFor();
  assert.equal(await changes(), 'accepted to-pass-on', 'once');
  await second.close();

  await page.locator('.pass-on a').tap();
  await page.locator('form button').tap();
  assert.equal(await page.locator('#name-error-1').innerText(), 'Please enter their name.');
  assert.match(await page.locator('title').textContent(), /^Please check again/);
  assert.equal(await page.getAttribute('#contact', 'aria-invalid'), 'true');

  await page.fill('#name', '이하늘 🌤 <b>');
  await page.fill('#contact', 'twelve "o\'clock"');
  await page.locator('form button').tap();
  await page.locator('#contact-error-1').waitFor();
  assert.equal(await page.inputValue('#name'), '이하늘 🌤 <b>', 'what was typed is kept');
  assert.equal(await page.inputValue('#contact'), 'twelve "o\'clock"', 'what was typed is kept');
  assert.equal(await page.locator('#name-error-1').count(), 0);
  // What is wrong is read out with the field.
  assert.equal(await page.getAttribute('#contact', 'aria-describedby'), 'contact-hint contact-error-1');

  await page.fill('#contact', 'haneul@example.com');
  await page.locator('form button').tap();
  await page.locator('.typed').first().waitFor();
  assert.deepEqual(await page.locator('.typed').allInnerTexts(), ['이하늘 🌤 <b>', 'haneul@example.com']);
  await page.locator('button[name=edit]').tap();
  assert.equal(await page.inputValue('#contact'), 'haneul@example.com', 'changing starts from what was typed');
  await page.locator('form button').tap();
  assert.equal(await changes(), 'accepted to-pass-on', 'nothing is sent before it is confirmed');
  await page.locator('form button:not(.quiet)').tap();
  await page.locator('.still h1').waitFor();
  assert.equal(await page.locator('h1').innerText(), 'You gave this gift to someone else');
  await context.close();
}

// The pages that only a POST shows, in both languages and lights, as the others.
async function formPages() {
  for (const colorScheme of ['light', 'dark']) {
    const { context, page } = await person({ colorScheme });
    for (const tag of LANGUAGES) {
      const check = async (name) => {
        await accessible(page, `${name}-${tag}`);
        await fits(page, `${name}-${tag}`);
        await shoot(page, `${name}-${tag}-${colorScheme}`);
      };
      await page.goto(`${base}/g/accepted/transfer?lang=${tag}`);
      await page.fill('#contact', '12');
      await page.locator('form button').tap();
      await page.locator('#contact-error-1').waitFor();
      await check('errors');
      await page.fill('#name', 'Wolfeschlegelsteinhausenbergerdorff '.repeat(2));
      await page.fill('#contact', `${'h'.repeat(60)}@example.com`);
      await page.locator('form button').tap();
      await page.locator('.typed').first().waitFor();
      await check('confirm');
      // An old form: the same page again, and why.
      await page.goto(`${base}/g/arrived?lang=${tag}`);
      await page.locator('input[name=nonce]').evaluate((input) => (input.value = 'spent'));
      await page.locator('.action button').tap();
      await page.locator('.notice').waitFor();
      await check('stale');
    }
    await context.close();
  }
}

try {
  await gettingChangesNothing();
  await everyPage();
  await withoutThePicture();
  await language();
  await gettingChangesNothing();
  await formPages();
  assert.equal(await changes(), '');
  await withoutScripts();
  assert.deepEqual(complaints, []);
  console.log('every page, every check');
} finally {
  await browser.close();
  rmSync(work, { recursive: true });
}
