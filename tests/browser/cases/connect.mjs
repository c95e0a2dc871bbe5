import { check, echo, equal, pattern, rejection, sleep, step } from '../page.mjs';

const text = (value) => new TextEncoder().encode(value);

export const cases = {
  async connect(server) {
    const session = await server.connect('/');
    await step('echo', echo(session, text('hello')));
    session.close();
    const { closeCode, reason } = await step('closed', session.closed);
    equal(closeCode, 0, 'closeCode');
    equal(reason, '', 'reason');
    return {};
  },

  async 'connect-wrong-hash'(server) {
    const value = server.hash.slice();
    value[0] ^= 1;
    const session = server.dial('/', {
      serverCertificateHashes: [{ algorithm: 'sha-256', value }],
    });
    session.closed.catch(() => {});
    const error = await rejection(session.ready, 'ready with a wrong hash');
    return { error: String(error) };
  },

  // Longer than the limits of time in a handshake: what was only half begun is torn down by then.
  async lasting(server) {
    const session = await server.connect('/echo');
    let ended = false;
    session.closed.then(
      () => (ended = true),
      () => (ended = true),
    );
    const started = performance.now();
    let echoes = 0;
    while (performance.now() - started < 12_000) {
      check(!ended, `the session ended after ${Math.round(performance.now() - started)} ms`);
      await step('echo', echo(session, pattern(100, (echoes += 1))));
      await sleep(500);
    }
    session.close();
    return { echoes };
  },

  async reconnect(server) {
    const times = [];
    for (let round = 0; round < 50; round++) {
      const started = performance.now();
      const session = await server.connect('/echo');
      await step(`echo ${round}`, echo(session, pattern(1000, round + 1)));
      session.close({ closeCode: round, reason: `round ${round}` });
      await step(`closed ${round}`, session.closed);
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    return { rounds: times.length, median_ms: Math.round(times[25]), max_ms: Math.round(times[49]) };
  },

  async sessions(server) {
    const paths = ['/', '/echo', '/echo/a', '/echo/b/c', '/echo?x=1', '/echo'];
    const sessions = await Promise.all(paths.map((path) => server.connect(path)));
    await step(
      'echo on every session',
      Promise.all(sessions.map((session, index) => echo(session, pattern(200_000, index + 1)))),
    );
    sessions[0].close({ closeCode: 1, reason: 'first' });
    await step('the first session closed', sessions[0].closed);
    await step(
      'echo on the others',
      Promise.all(sessions.slice(1).map((session) => echo(session, text('still here')))),
    );
    sessions.slice(1).forEach((session) => session.close());
    return { sessions: sessions.length };
  },

  async slow(server) {
    const started = performance.now();
    const session = await server.connect('/slow?ms=400');
    const waited = performance.now() - started;
    check(waited >= 400, `ready after ${waited} ms, before the server answered`);
    await step('echo', echo(session, text('late')));
    session.close();
    return { ready_ms: Math.round(waited) };
  },
};
