// Starts Firefox and drives it by WebDriver BiDi: the few things that the harness needs, under the
// names that playwright has for them. Playwright itself drives builds of its own only.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PREFERENCES = {
  // Whatever the browser wants from elsewhere, it finds no such host.
  'network.dns.disabled': true,
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.region.update.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'toolkit.telemetry.enabled': false,
};

/** A browser without a window, with a new and empty profile. */
export async function launch() {
  const profile = await mkdtemp(join(tmpdir(), 'wt-firefox-'));
  const lines = Object.entries(PREFERENCES).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
  );
  await writeFile(join(profile, 'user.js'), lines.join(''));
  const program = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
  const args = ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', profile];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((done) => child.once('close', done));
  const browser = new Browser(async () => {
    child.kill();
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  try {
    await browser.connect(await address(child));
  } catch (error) {
    await browser.close();
    throw error;
  }
  return browser;
}

/** Where the browser says that it listens. */
function address(child) {
  const said = [];
  return new Promise((found, failed) => {
    child.once('error', failed);
    child.once('close', () => failed(new Error(`Firefox ended:\n${said.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      const match = line.match(/WebDriver BiDi listening on (ws:\S+)/);
      if (match) found(`${match[1]}/session`);
    });
  });
}

/** That of Node.js, which version 20 does not have yet, or the one that playwright brings. */
async function webSocket() {
  return globalThis.WebSocket ?? (await import('playwright-core/lib/utilsBundle')).default.ws;
}

class Browser {
  #socket;
  #stop;
  #sent = 0;
  #waiting = new Map();
  #pages = new Map();

  constructor(stop) {
    this.#stop = stop;
  }

  async connect(url) {
    const socket = new (await webSocket())(url);
    await new Promise((open, failed) => {
      socket.onopen = open;
      socket.onerror = () => failed(new Error(`no connection to ${url}`));
    });
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => {
      for (const { failed } of this.#waiting.values()) failed(new Error('Firefox is gone'));
    };
    await this.command('session.new', { capabilities: {} });
    await this.command('session.subscribe', { events: ['log.entryAdded'] });
  }

  #receive(message) {
    if (message.type === 'event') {
      const { source, text, level } = message.params;
      this.#pages.get(source?.context)?.log(level, text);
      return;
    }
    const { done, failed } = this.#waiting.get(message.id) ?? {};
    this.#waiting.delete(message.id);
    if (message.type === 'success') done?.(message.result);
    else failed?.(new Error(`${message.error}: ${message.message}`));
  }

  command(method, params) {
    const id = (this.#sent += 1);
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  async newPage() {
    const { context } = await this.command('browsingContext.create', { type: 'tab' });
    const page = new Page(this, context);
    this.#pages.set(context, page);
    return page;
  }

  async close() {
    this.#socket?.close();
    await this.#stop();
  }
}

class Page {
  #browser;
  #context;
  #listeners = {};

  constructor(browser, context) {
    this.#browser = browser;
    this.#context = context;
  }

  on(event, listener) {
    this.#listeners[event] = listener;
  }

  log(level, text) {
    if (level === 'error') this.#listeners.pageerror?.(text);
    else this.#listeners.console?.({ text: () => text });
  }

  async goto(url) {
    const params = { context: this.#context, url, wait: 'complete' };
    await this.#browser.command('browsingContext.navigate', params);
  }

  /** Runs a function in the page and returns what it returns, which is to be representable in JSON. */
  async evaluate(run, argument) {
    const call = `(${run})(${JSON.stringify(argument) ?? ''})`;
    const { result, exceptionDetails } = await this.#browser.command('script.evaluate', {
      expression: `Promise.resolve(${call}).then((value) => JSON.stringify(value))`,
      target: { context: this.#context },
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.type === 'string' ? JSON.parse(result.value) : undefined;
  }

  async close() {
    await this.#browser.command('browsingContext.close', { context: this.#context });
  }
}
