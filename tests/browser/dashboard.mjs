#!/usr/bin/env node
// Opens the page of `wtctl serve --dashboard` while the server has load, and checks what it shows.

import { parseArgs } from 'node:util';
import { launch } from './harness.mjs';

const USAGE = `Usage: node dashboard.mjs URL [--screenshot FILE.png] [--sessions N] [--samples N] [--end PID]

Waits until the page shows at least N sessions and a rate, and has drawn --samples samples; checks that
figures have units, and that nothing overlaps or is wider than the window, at 1280x720 and at 390x844,
light and dark. Prints one line of JSON; exits with 1 if something failed or the page wrote an error to
the console.

  --screenshot  write FILE.png at 1280x720, FILE-dark.png, FILE-phone.png and FILE-phone-dark.png
  --sessions    how many sessions the page has to show at least, its own among them [default: 1]
  --samples     how many samples the plots have to show at least [default: 3]
  --end         end this process, which is the server, and check that the page says that it is
                disconnected
  --forget-token  the page shows the feed no token: check that it says that there is no session`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    screenshot: { type: 'string' },
    sessions: { type: 'string', default: '1' },
    samples: { type: 'string', default: '3' },
    end: { type: 'string' },
    'forget-token': { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
if (values.help || positionals.length !== 1 || !URL.canParse(positionals[0])) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}

const VIEWS = [
  { suffix: '', width: 1280, height: 720, colorScheme: 'light' },
  { suffix: '-dark', width: 1280, height: 720, colorScheme: 'dark' },
  { suffix: '-phone', width: 390, height: 844, colorScheme: 'light' },
  { suffix: '-phone-dark', width: 390, height: 844, colorScheme: 'dark' },
];
const PATIENCE = 60_000;

const errors = [];
const started = performance.now();
const browser = await launch();
const detail = {};
try {
  const expected = values['forget-token'] || values.end;
  for (const view of expected ? VIEWS.slice(0, 1) : VIEWS) {
    const { suffix, width, height, colorScheme } = view;
    const page = await browser.newPage({ viewport: { width, height }, colorScheme, deviceScaleFactor: suffix.startsWith('-phone') ? 2 : 1 });
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      // That there is no session is a matter of the cases in which there is none.
      if (message.type() === 'error' && !(expected && /WebTransport|Failed to establish a connection/.test(message.text()))) errors.push(message.text());
    });
    if (values['forget-token']) {
      // The page itself is shown, then asks as if it had none.
      await page.addInitScript(() => {
        const get = URLSearchParams.prototype.get;
        URLSearchParams.prototype.get = function (name) { return name === 'token' ? null : get.call(this, name); };
      });
    }
    await page.goto(positionals[0]);
    if (values['forget-token']) {
      await lost(page, view);
    } else {
      await page.locator('#state[data-state="connected"]').waitFor();
      detail[`${width}x${height}${suffix.endsWith('-dark') ? ' dark' : ''}`] = await figures(page);
      await laidOut(page, `${width}x${height}`);
      await picture(page, view);
      if (values.end) {
        process.kill(Number(values.end), 'SIGINT');
        await lost(page, view);
      }
    }
    await page.close();
  }
} catch (error) {
  errors.push(String(error));
} finally {
  await browser.close();
}
const ok = errors.length === 0;
const ms = Math.round(performance.now() - started);
console.log(JSON.stringify({ case: 'dashboard', ok, ms, detail: ok ? detail : errors.join('\n') }));
process.exit(ok ? 0 : 1);

/** Waits for sessions and a rate, and returns the figures that the page shows. */
async function figures(page) {
  await page.waitForFunction(
    ({ sessions, samples }) => {
      const number = (id) => Number(document.getElementById(id).textContent.replace(/,/g, ''));
      const drawn = document.querySelector('#plot-sessions path:not(.area)')?.getAttribute('d').split('L').length ?? 0;
      return number('sessions') >= sessions && number('received') > 0 && drawn >= samples;
    },
    { sessions: Number(values.sessions), samples: Number(values.samples) },
    { timeout: PATIENCE },
  );
  return page.evaluate(() => {
    const text = (id) => document.getElementById(id).textContent.trim();
    const number = (id) => Number(text(id).replace(/,/g, ''));
    return {
      sessions: number('sessions'),
      received: number('received'),
      received_unit: text('received-unit'),
      sent: number('sent'),
      sent_unit: text('sent-unit'),
      rtt_ms: number('rtt'),
      lost_percent: number('lost'),
      health: text('health-status'),
      units: [...document.querySelectorAll('.unit-label')].map((unit) => unit.textContent),
      bars: document.querySelectorAll('#plot-rtt .bar').length,
      plots: [...document.querySelectorAll('.plot svg')].map((svg) => svg.getAttribute('aria-label')),
    };
  });
}

/** Nothing is wider than the window, and neither cards nor their words overlap. */
async function laidOut(page, name) {
  const wrong = await page.evaluate(() => {
    const wrong = [];
    if (document.documentElement.scrollWidth > innerWidth) {
      wrong.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${innerWidth}`);
    }
    const overlap = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const pairs = (what, elements) => {
      const boxes = elements
        .map((element) => ({ element, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.width > 0 && box.height > 0);
      boxes.forEach(({ element, box }, i) => {
        for (const other of boxes.slice(i + 1)) {
          if (overlap(box, other.box)) {
            wrong.push(`${what} overlap: ${element.textContent.trim().slice(0, 40)} / ${other.element.textContent.trim().slice(0, 40)}`);
          }
        }
      });
    };
    pairs('cards', [...document.querySelectorAll('header, section, .message:not([hidden])')]);
    for (const card of document.querySelectorAll('section')) pairs('parts of a card', [...card.children]);
    for (const svg of document.querySelectorAll('.plot svg')) {
      pairs('words of a plot', [...svg.querySelectorAll('text')]);
      const outer = svg.getBoundingClientRect();
      for (const text of svg.querySelectorAll('text')) {
        const box = text.getBoundingClientRect();
        if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.bottom > outer.bottom + 1 || box.top < outer.top - 1) {
          wrong.push(`cut off in a plot: ${text.textContent}`);
        }
      }
    }
    for (const element of document.querySelectorAll('h1, h2, .value, .unit, .note, .legend, .health *')) {
      if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0) wrong.push(`cut off: ${element.textContent}`);
    }
    for (const element of document.querySelectorAll('section, [role="img"], [role="region"]')) {
      const by = element.getAttribute('aria-labelledby');
      if (!element.getAttribute('aria-label') && !document.getElementById(by)?.textContent) wrong.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    }
    return wrong;
  });
  errors.push(...wrong.map((words) => `${name}: ${words}`));
}

/** The page says that it has no session and tries again. */
async function lost(page, view) {
  await page.locator('#state[data-state="waiting"]').waitFor();
  const words = await page.textContent('#message');
  if (!/reconnecting in \d+ s/.test(words)) errors.push(`not said: ${words}`);
  detail.message = words;
  await laidOut(page, `${view.width}x${view.height}, disconnected`);
  if (values.screenshot) await page.screenshot({ path: values.screenshot.replace(/(\.png)?$/, '-lost.png') });
}

async function picture(page, { suffix }) {
  if (!values.screenshot) return;
  const path = values.screenshot.replace(/(\.png)?$/, `${suffix}.png`);
  await page.screenshot({ path, fullPage: suffix.startsWith('-phone') });
}
