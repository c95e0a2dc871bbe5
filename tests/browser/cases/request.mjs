import { accept, check, echo, equal, pattern, readAll, rejection, step } from '../page.mjs';

async function refused(server, path) {
  const session = server.dial(path);
  const closed = rejection(session.closed, `closed at ${path}`);
  const error = await rejection(session.ready, `ready at ${path}`);
  await closed;
  return { error: String(error) };
}

export const cases = {
  'refused-path': (server) => refused(server, '/no/such/path'),

  'refused-403': (server) => refused(server, '/status/403'),

  'refused-500': (server) => refused(server, '/status/500'),

  async headers(server) {
    const session = await server.connect('/headers?a=1&b=%20');
    const [stream] = await step('a stream', accept(session.incomingUnidirectionalStreams, 1));
    const json = new TextDecoder().decode(await step('the fields', readAll(stream)));
    const fields = JSON.parse(json);
    equal(fields[':method'], 'CONNECT', ':method');
    equal(fields[':scheme'], 'https', ':scheme');
    equal(fields[':authority'], new URL(server.url).host, ':authority');
    equal(fields[':path'], '/headers?a=1&b=%20', ':path');
    check(String(fields[':protocol']).startsWith('webtransport'), `:protocol in ${json}`);
    equal(fields.origin, location.origin, 'origin');
    await step('echo', echo(session, pattern(100)));
    session.close();
    return { fields };
  },

  async subprotocol(server) {
    if (!('protocol' in WebTransport.prototype)) {
      return { skipped: 'this browser has no WebTransport.protocol' };
    }
    check(server.protocols.length >= 2, 'start the server with two --protocols and name them');
    const [first, second] = server.protocols;
    const offers = [
      // The server answers with the first of the client's that it speaks.
      { protocols: ['unknown', second, first], expected: second },
      { protocols: [first, second], expected: first },
      { protocols: ['unknown'], expected: '' },
      { protocols: undefined, expected: '' },
    ];
    for (const { protocols, expected } of offers) {
      const session = await server.connect('/echo', protocols && { protocols });
      equal(session.protocol, expected, `protocol of the offer ${protocols}`);
      await step('echo', echo(session, pattern(100)));
      session.close();
    }
    return { offers: offers.length };
  },
};
