// Starts a browser and runs cases in it. Nothing leaves the loopback interface.

import { createServer } from 'node:http';
import { readFile, readdir } from 'node:fs/promises';
import { chromium } from 'playwright-core';

import * as firefox from './firefox.mjs';

const HERE = new URL('./', import.meta.url);

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Whatever the browser wants from elsewhere, it finds no such host.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE ::1',
];

/** The named browser without a window, with a new and empty profile. */
export function launch(browser = 'chromium') {
  if (browser === 'firefox') return firefox.launch();
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
  });
}

/** The name of every case and the file that has it. */
export async function listCases() {
  const found = new Map();
  for (const file of (await readdir(new URL('cases/', HERE))).sort()) {
    const { cases } = await import(new URL(`cases/${file}`, HERE));
    for (const name of Object.keys(cases)) {
      if (found.has(name)) throw new Error(`two cases are called ${name}`);
      found.set(name, file);
    }
  }
  return found;
}

/**
 * Serves an empty page and the modules of the cases on http://localhost:PORT, which browsers
 * take for a secure context. Returns its address and a function that stops it.
 */
async function servePages() {
  const modules = new Set(['page.mjs', ...(await listCases()).values()]);
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const name = pathname.replace(/^\/(cases\/)?/, '');
    if (pathname === '/') {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>wt</title><link rel="icon" href="data:,">');
    } else if (modules.has(name)) {
      response.setHeader('content-type', 'text/javascript');
      response.end(await readFile(new URL(`.${pathname}`, HERE)));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, 'localhost', listening));
  return {
    address: `http://localhost:${server.address().port}/`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Runs the cases one after the other, each in a new page: a page that saw a session fail is made
 * to wait by Chromium before its next ones. Calls `report` with each result.
 */
export async function runCases(browserName, names, target, timeout, report) {
  const files = await listCases();
  const pages = await servePages();
  const browser = await launch(browserName);
  try {
    for (const name of names) {
      const started = performance.now();
      const page = await browser.newPage();
      page.on('console', (message) => console.error(`[${name}] ${message.text()}`));
      page.on('pageerror', (error) => console.error(`[${name}] ${error}`));
      let outcome;
      try {
        await page.goto(pages.address);
        outcome = await Promise.race([
          inPage(page, files.get(name), name, target),
          afterTimeout(page, timeout),
        ]);
      } catch (error) {
        outcome = { ok: false, detail: String(error) };
      }
      report({ case: name, ok: outcome.ok, ms: Math.round(performance.now() - started), detail: outcome.detail });
      await page.close();
    }
  } finally {
    await browser.close();
    pages.stop();
  }
}

function inPage(page, file, name, target) {
  return page.evaluate(
    async ({ file, name, target }) => {
      try {
        const { Server } = await import('/page.mjs');
        const { cases } = await import(`/cases/${file}`);
        return { ok: true, detail: await cases[name](new Server(target)) };
      } catch (error) {
        const during = globalThis.waitingFor ? ` (waiting for ${globalThis.waitingFor})` : '';
        return { ok: false, detail: `${error}${during}` };
      }
    },
    { file, name, target },
  );
}

async function afterTimeout(page, timeout) {
  await new Promise((done) => setTimeout(done, timeout).unref());
  const waitingFor = await page.evaluate(() => globalThis.waitingFor).catch(() => undefined);
  return { ok: false, detail: `no end after ${timeout} ms, waiting for ${waitingFor ?? 'the page'}` };
}
