#!/usr/bin/env node
// The page of the example `web_chat`, used as people would, and the cases for `wt.js`, each in a page.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { launch } from './harness.mjs';

const { values } = parseArgs({
  options: { url: { type: 'string' }, hash: { type: 'string' }, port: { type: 'string' } },
});

const WEB = new URL('../../crates/wt/examples/web/', import.meta.url);
const FILES = {
  '/': [new URL('index.html', WEB), 'text/html'],
  '/wt.js': [new URL('wt.js', WEB), 'text/javascript'],
  '/cases.mjs': [new URL('./javascript-cases.mjs', import.meta.url), 'text/javascript'],
};
const server = createServer(async (request, response) => {
  const [file, type] = FILES[request.url] ?? [];
  if (!file) return response.writeHead(404).end();
  response.setHeader('content-type', type);
  response.end(await readFile(file));
});
await new Promise((listening) => server.listen(values.port, '127.0.0.1', listening));

const browser = await launch();
const detail = {};
let ok = false;
try {
  await chat();
  const { cases } = await import('./javascript-cases.mjs');
  for (const name of Object.keys(cases)) {
    const started = performance.now();
    const page = await open('');
    const failed = await page.evaluate(async ({ name, url, hash }) => {
      try {
        const { cases } = await import('/cases.mjs');
        const late = new Promise((_, reject) => setTimeout(() => reject(new Error('no end')), 40_000));
        await Promise.race([cases[name]({ url, hash }), late]);
      } catch (error) {
        return error.stack;
      }
    }, { name, ...values });
    if (failed) throw new Error(`${name}: ${failed}`);
    await page.close();
    detail[name] = `${Math.round(performance.now() - started)} ms`;
  }
  ok = true;
} catch (error) {
  detail.error = String(error);
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
console.log(JSON.stringify({ case: 'javascript', ok, detail }));
process.exit(ok ? 0 : 1);

async function open(fragment) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`page: ${error.stack}`));
  await page.goto(`http://localhost:${values.port}/${fragment}`);
  return page;
}

async function chat() {
  const ann = await enter('ann', true);
  await heard(ann, 'ann is here');
  const bob = await enter('bob', true);
  await heard(bob, 'bob is here');
  await heard(ann, 'bob is here');
  await bob.fill('#desk input', 'grüße');
  await bob.click('#desk button');
  await heard(ann, 'bob: grüße');
  await heard(bob, 'bob: grüße');
  detail.welcome = await ann.textContent('#state');
  if (detail.welcome !== 'welcome, ann: there are 0 others') throw new Error(detail.welcome);
  const eve = await enter('eve', false);
  await eve.waitForFunction(() => document.getElementById('state').textContent.startsWith('RpcError'));
  detail.refused = await eve.textContent('#state');
}

/** A page whose visitor gives a name, and accepts the rules or does not. */
async function enter(name, accepts) {
  const page = await open(`#${values.url}/chat,${values.hash}`);
  page.on('dialog', (dialog) => (accepts ? dialog.accept() : dialog.dismiss()));
  await page.fill('#door input', name);
  await page.click('#door button');
  return page;
}

async function heard(page, line) {
  const has = (line) => [...document.querySelectorAll('#heard li')].some((li) => li.textContent === line);
  await page.waitForFunction(has, line, { timeout: 30_000 });
}
