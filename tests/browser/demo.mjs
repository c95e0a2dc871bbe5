#!/usr/bin/env node
// Opens the page of `wtctl demo` as a visitor would and checks that everything on it works.

import { parseArgs } from 'node:util';
import { launch } from './harness.mjs';

const USAGE = `Usage: node demo.mjs http://localhost:PORT/ [--screenshot FILE.png] [--dark] [--seconds N]

Waits until the page is connected, has an answer to an echo and shows round trips, then closes the
session and connects again. Prints one line of JSON; exits with 1 if something failed or the page
wrote an error to the console.

  --screenshot  write FILE.png at 1280x720, and FILE-phone.png at 390x844
  --dark        in the dark colour scheme
  --seconds     how long round trips are collected before the screenshot [default: 2]`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    screenshot: { type: 'string' },
    dark: { type: 'boolean' },
    seconds: { type: 'string', default: '2' },
    help: { type: 'boolean' },
  },
});
if (values.help || positionals.length !== 1 || !URL.canParse(positionals[0])) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}

const VIEWS = [
  { suffix: '', width: 1280, height: 720 },
  { suffix: '-phone', width: 390, height: 844 },
];

const errors = [];
const started = performance.now();
const browser = await launch();
const detail = {};
try {
  for (const { suffix, width, height } of VIEWS) {
    const page = await browser.newPage({
      viewport: { width, height },
      colorScheme: values.dark ? 'dark' : 'light',
      deviceScaleFactor: suffix ? 2 : 1,
    });
    page.setDefaultTimeout(20_000);
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(message.text());
    });
    await page.goto(positionals[0]);
    await hasState(page, 'connected');

    const text = `wt ${width}x${height}`;
    await page.fill('#echo-input', text);
    await page.click('#echo-send');
    await page.locator('#echo-output li', { hasText: text }).locator('.time').waitFor();

    const received = 20 * Number(values.seconds) * 0.8;
    await page.waitForFunction(
      (count) => Number(document.getElementById('datagrams-received').textContent.replace(/,/g, '')) >= count,
      received,
      { timeout: 20_000 + 2000 * Number(values.seconds) },
    );
    await page.waitForFunction(() => document.getElementById('rtt-median').textContent !== '–');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    if (wide) errors.push(`the page is wider than ${width} px`);
    if (values.screenshot) {
      const path = values.screenshot.replace(/(\.png)?$/, `${suffix}.png`);
      await page.screenshot({ path, fullPage: Boolean(suffix) });
    }
    detail[`${width}x${height}`] = {
      protocol: await page.textContent('#protocol'),
      median_ms: Number(await page.textContent('#rtt-median')),
      loss_percent: Number(await page.textContent('#datagrams-loss')),
    };

    await page.click('#close');
    await hasState(page, 'closed');
    await page.click('#reconnect');
    await hasState(page, 'connected');
    await page.close();
  }
} catch (error) {
  errors.push(String(error));
} finally {
  await browser.close();
}
const ok = errors.length === 0;
const ms = Math.round(performance.now() - started);
console.log(JSON.stringify({ case: 'demo', ok, ms, detail: ok ? detail : errors.join('\n') }));
process.exit(ok ? 0 : 1);

async function hasState(page, state) {
  await page.locator(`#state[data-state="${state}"]`).waitFor();
}
