#!/usr/bin/env node
// Two pages chat by the example `chat`, with the code that docs/guide/server.md shows; a page of
// another origin is refused.

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { launch } from './harness.mjs';

const { values } = parseArgs({
  options: { url: { type: 'string' }, hash: { type: 'string' }, port: { type: 'string' } },
});
const hash = values.hash.match(/../g).map((byte) => parseInt(byte, 16));

const pages = createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><title>chat</title><link rel="icon" href="data:,">');
});
await new Promise((listening) => pages.listen(values.port, '127.0.0.1', listening));

const browser = await launch();
const detail = {};
let ok = false;
try {
  const ann = await member(`http://localhost:${values.port}/`, 'ann');
  await heard(ann, 'ann is here');
  const bob = await member(`http://localhost:${values.port}/`, 'bob');
  await heard(ann, 'bob is here');
  await heard(bob, 'bob is here');
  await ann.evaluate(() => say('grüße'));
  await heard(bob, 'ann: grüße');
  await heard(ann, 'ann: grüße');
  await bob.evaluate(() => transport.close({ closeCode: 0, reason: 'bye' }));
  await heard(ann, 'bob left');
  detail.heard = await ann.evaluate(() => text);
  detail.stranger = await member(`http://127.0.0.1:${values.port}/`, 'eve').then(
    () => 'let in',
    () => 'refused',
  );
  ok = detail.stranger === 'refused';
} catch (error) {
  detail.error = String(error);
} finally {
  await browser.close();
  pages.close();
}
console.log(JSON.stringify({ case: 'chat', ok, detail }));
process.exit(ok ? 0 : 1);

/** A page of this origin, which is in the room. */
async function member(origin, name) {
  const page = await browser.newPage();
  await page.goto(origin);
  await page.evaluate(
    async ({ url, hash, name }) => {
      globalThis.text = '';
      const transport = new WebTransport(`${url}/chat/hall?name=${name}`, {
        serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(hash) }],
      });
      globalThis.transport = transport;
      await transport.ready;
      globalThis.say = async (words) => {
        const writer = (await transport.createUnidirectionalStream()).getWriter();
        await writer.write(new TextEncoder().encode(words));
        await writer.close();
      };
      (async () => {
        const streams = transport.incomingUnidirectionalStreams.getReader();
        const { value: lines } = await streams.read();
        for await (const heard of lines.pipeThrough(new TextDecoderStream())) {
          globalThis.text += heard;
        }
      })();
    },
    { url: values.url, hash, name },
  );
  return page;
}

/** Waits until a page has heard a line. */
async function heard(page, line) {
  await page.waitForFunction((line) => text.split('\n').includes(line), line, { timeout: 20_000 });
}
