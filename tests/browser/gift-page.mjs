// Opens every page of a gift in Chromium, as a person with a phone would, and fails at the first thing that is wrong.
//
//     node gift-page.mjs BASE-URL DIGITS LETTERS
//
// BASE-URL serves the gifts of api/pages/tests/support; DIGITS and LETTERS are the numbers of its vouchers.
// What it needs beside them is said in look.mjs.

import assert from 'node:assert/strict';

import { LANGUAGES, accessible, atEveryWidth, complaints, done, fits, guarded, person, scans, shoot } from './look.mjs';

const [base, digits, letters] = process.argv.slice(2);

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

async function changes() {
  return (await fetch(`${base}/changes`)).text();
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
        await atEveryWidth(page, name, async () => {
          if (path === 'accepted') await scans(page, name, digits);
          if (path === 'long') await scans(page, name, letters);
        });
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
  await done();
}
