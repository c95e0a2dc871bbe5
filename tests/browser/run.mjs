#!/usr/bin/env node
// Runs cases against a server with the paths of `wtctl serve`; README.md has an example.

import { parseArgs } from 'node:util';
import { listCases, runCases } from './harness.mjs';

const USAGE = `Usage: node run.mjs CASE... --url https://127.0.0.1:PORT/ --hash HEX [--protocols a,b] [--timeout MS] [--browser NAME]
       node run.mjs --list

CASE is the name of a case, or \`all\`. Prints one line of JSON for each; exits with 1 if one failed.

  --url        where the server listens; Chromium looks for \`localhost\` on ::1 only
  --hash       SHA-256 of the server's certificate, 64 hex digits
  --protocols  the subprotocols that the server was started with
  --timeout    milliseconds for one case [default: 60000]
  --browser    chromium or firefox [default: chromium]
  --list       print the names of the cases`;

function fail(message) {
  console.error(`error: ${message}\n\n${USAGE}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        url: { type: 'string' },
        hash: { type: 'string' },
        protocols: { type: 'string', default: '' },
        timeout: { type: 'string', default: '60000' },
        browser: { type: 'string', default: 'chromium' },
        list: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    return fail(error.message);
  }
}

const { values, positionals } = parse();
const known = [...(await listCases()).keys()];
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (values.list) {
  console.log(known.join('\n'));
  process.exit(0);
}
const names = positionals.length === 1 && positionals[0] === 'all' ? known : positionals;
const unknown = names.filter((name) => !known.includes(name));
if (names.length === 0) fail('name a case');
if (unknown.length > 0) fail(`no case is called ${unknown.join(', ')}`);
if (!URL.canParse(values.url)) fail('--url has to be the address of the server');
if (!/^[0-9a-f]{64}$/i.test(values.hash ?? '')) fail('--hash has to be 64 hex digits');
if (!['chromium', 'firefox'].includes(values.browser)) fail(`no browser is called ${values.browser}`);
if (!(Number(values.timeout) > 0)) fail('--timeout has to be a number of milliseconds');

const target = {
  url: values.url,
  hash: values.hash,
  protocols: values.protocols.split(',').filter(Boolean),
};
let failed = false;
await runCases(values.browser, names, target, Number(values.timeout), (result) => {
  failed ||= !result.ok;
  console.log(JSON.stringify(result));
});
process.exit(failed ? 1 : 0);
