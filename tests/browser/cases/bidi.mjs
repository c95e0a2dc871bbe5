import { check, echo, equal, pattern, readAll, sameBytes, sendAll, sleep, step } from '../page.mjs';

export const cases = {
  async 'bidi-8mib'(server) {
    const session = await server.connect('/echo');
    const bytes = pattern(8 << 20);
    const started = performance.now();
    await step('8 MiB to come back', echo(session, bytes));
    const seconds = (performance.now() - started) / 1000;
    session.close();
    return { bytes: bytes.length, mib_per_second: Math.round(8 / seconds) };
  },

  async 'bidi-200'(server) {
    const session = await server.connect('/echo');
    const streams = await step(
      '200 streams to open',
      Promise.all(Array.from({ length: 200 }, () => session.createBidirectionalStream())),
    );
    // All are open and used before the first one ends.
    const writers = streams.map((stream) => stream.writable.getWriter());
    const parts = streams.map((_, index) => pattern(4000, index + 1));
    await step(
      'the first half to be written',
      Promise.all(writers.map((writer, index) => writer.write(parts[index].subarray(0, 2000)))),
    );
    const answers = streams.map((stream) => readAll(stream.readable));
    await step(
      'the second half to be written',
      Promise.all(
        writers.map(async (writer, index) => {
          await writer.write(parts[index].subarray(2000));
          await writer.close();
        }),
      ),
    );
    (await step('200 answers', Promise.all(answers))).forEach((answer, index) =>
      sameBytes(answer, parts[index], `stream ${index}`),
    );
    session.close();
    return { streams: streams.length };
  },

  // More streams than any grant of credit: the server has to renew it.
  async 'bidi-credit'(server) {
    const session = await server.connect('/echo');
    const rounds = 30;
    for (let round = 0; round < rounds; round++) {
      await step(
        `round ${round} of 100 streams`,
        Promise.all(Array.from({ length: 100 }, (_, index) => echo(session, pattern(50, index)))),
      );
    }
    session.close();
    return { streams: rounds * 100 };
  },

  async 'bidi-empty'(server) {
    const session = await server.connect('/echo');
    await step('nothing to come back, and FIN', echo(session, new Uint8Array()));
    session.close();
    return {};
  },

  async source(server) {
    const sizes = [0, 1, 100_000, 4 << 20];
    let lost = 0;
    for (const size of sizes) {
      const session = await server.connect(`/source?bytes=${size}`);
      let got;
      // Chromium drops a FIN that arrives before the page has its stream in hand, which a short
      // answer to the mere opening of a stream does now and then: ask again on a new one.
      for (let tries = 0; got === undefined && tries < 5; tries++) {
        const stream = await session.createBidirectionalStream();
        // The server may or may not care for what the page has to say.
        stream.writable.close().catch(() => {});
        const end = readAll(stream.readable);
        got = await step(`${size} bytes`, size < 1000 ? Promise.race([end, sleep(2000)]) : end);
        lost += got === undefined;
      }
      check(got, `no FIN after ${size} bytes on any of 5 streams`);
      equal(got.length, size, 'bytes of the source');
      session.close();
    }
    return { sizes, fins_lost_in_browser: lost };
  },

  async discard(server) {
    const session = await server.connect('/discard');
    const bytes = pattern(4 << 20);
    const bidi = await session.createBidirectionalStream();
    const uni = await session.createUnidirectionalStream();
    await step(
      'everything to be taken',
      Promise.all([sendAll(bidi.writable, bytes), sendAll(uni, bytes)]),
    );
    let ended = false;
    session.closed.then(
      () => (ended = true),
      () => (ended = true),
    );
    await session.createUnidirectionalStream();
    check(!ended, 'the session ended');
    session.close();
    return { bytes: 2 * bytes.length };
  },
};
