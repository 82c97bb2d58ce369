// Opens a gift where a node serves it, accepts it and passes it on, as a person with a phone would, and fails at the first
// thing that is wrong.
//
//     node gift-mounted.mjs BASE-URL TOKEN USED-TOKEN
//
// TOKEN is of a gift that waits to be accepted, USED-TOKEN of one that was used. What it needs beside them is said in
// look.mjs.

import assert from 'node:assert/strict';

import { LANGUAGES, accessible, atEveryWidth, complaints, done, guarded, person, scans, shoot } from './look.mjs';

const [base, token, used] = process.argv.slice(2);
const gift = `${base}/g/${token}`;

// A page as it is at an address, in both languages, by day and by night.
async function look(name, path, status, check = async () => {}) {
  for (const colorScheme of ['light', 'dark']) {
    const { context, page } = await person({ colorScheme });
    for (const language of LANGUAGES) {
      const told = `mounted-${name}-${language}-${colorScheme}`;
      const response = await page.goto(`${base}/g/${path}?lang=${language}`);
      assert.equal(response.status(), status, told);
      guarded(response, told);
      assert.equal(await page.getAttribute('html', 'lang'), language, told);
      assert.equal(await page.locator('script').count(), 0, told);
      assert.equal(await page.locator('main').evaluate((main) => getComputedStyle(main).maxWidth), '480px', told);
      await accessible(page, told);
      await atEveryWidth(page, told, () => check(page, told));
    }
    await context.close();
  }
}

async function language() {
  for (const [locale, tag] of [['ko-KR', 'ko'], ['en-US', 'en']]) {
    const { context, page } = await person({ locale });
    await page.goto(gift);
    assert.equal(await page.getAttribute('html', 'lang'), tag, locale);
    await page.locator('a.switch').click();
    assert.equal(await page.getAttribute('html', 'lang'), tag === 'ko' ? 'en' : 'ko', locale);
    await context.close();
  }
}

// Without JavaScript and by touch, with the same page open twice.
async function acceptAndPassOn() {
  const { context, page } = await person({ javaScriptEnabled: false });
  await page.goto(`${gift}?lang=en`);
  const second = await context.newPage();
  await second.goto(`${gift}?lang=en`);

  await page.locator('.action button').tap();
  await page.locator('.code').waitFor();
  assert.equal(page.url(), `${gift}?lang=en`, 'after a POST comes the page itself');
  const code = await page.locator('.code').innerText();
  await page.reload();
  assert.equal(await page.locator('.code').innerText(), code);
  await second.locator('.action button').tap();
  await second.locator('.code').waitFor();
  assert.equal(await second.locator('.code').innerText(), code, 'once');
  await second.close();

  await look('accepted', token, 200, (shown, told) => scans(shown, told, code.trim()));
  await look('transfer', `${token}/transfer`, 200);

  await page.locator('.pass-on a').tap();
  await page.locator('form button').tap();
  assert.equal(await page.locator('#name-error-1').innerText(), 'Please enter their name.');
  await page.fill('#name', '이하늘 🌤 <b>');
  await page.fill('#contact', 'twelve "o\'clock"');
  await page.locator('form button').tap();
  await page.locator('#contact-error-1').waitFor();
  assert.equal(await page.inputValue('#name'), '이하늘 🌤 <b>', 'what was typed is kept');
  assert.equal(await page.inputValue('#contact'), 'twelve "o\'clock"', 'what was typed is kept');
  await shoot(page, 'mounted-errors');
  await page.fill('#contact', 'haneul@example.com');
  await page.locator('form button').tap();
  await page.locator('.typed').first().waitFor();
  assert.deepEqual(await page.locator('.typed').allInnerTexts(), ['이하늘 🌤 <b>', 'haneul@example.com']);
  await shoot(page, 'mounted-confirm');
  await page.locator('button[name=edit]').tap();
  assert.equal(await page.inputValue('#contact'), 'haneul@example.com', 'changing starts from what was typed');
  await page.locator('form button').tap();
  await page.locator('form button:not(.quiet)').tap();
  await page.locator('.still h1').waitFor();
  assert.equal(await page.locator('h1').innerText(), 'You gave this gift to someone else');
  assert.equal(await page.locator('.code').count(), 0);
  await context.close();
}

// The way back from a page that a POST answered leads to the address of a form, where a GET finds nothing to do.
async function addressOfAForm() {
  const { context, page } = await person({});
  const response = await page.goto(`${gift}/accept?lang=en`);
  assert.equal(response.status(), 405);
  assert.equal(await page.locator('h1').innerText(), 'This cannot be done');
  await context.close();
}

try {
  await look('arrived', token, 200);
  await language();
  await addressOfAForm();
  await look('nobody', 'AAAAAAAAAAAAAAAAAAAAAAAA', 404);
  await look('used', used, 410);
  await acceptAndPassOn();
  await look('passed-on', token, 410);
  assert.deepEqual(complaints, []);
  console.log('every page, every check');
} finally {
  await done();
}
