import { accept, echo, equal, pattern, readAll, sameBytes, sendAll, step } from '../page.mjs';

export const cases = {
  async 'uni-echo'(server) {
    const session = await server.connect('/echo');
    const count = 20;
    // Told apart by their length, since the answers come in any order.
    const sent = Array.from({ length: count }, (_, index) => pattern(1 + index * 5000, index + 1));
    const answers = accept(session.incomingUnidirectionalStreams, count).then((streams) =>
      Promise.all(streams.map(readAll)),
    );
    await step(
      'all to be sent',
      Promise.all(
        sent.map(async (bytes) => sendAll(await session.createUnidirectionalStream(), bytes)),
      ),
    );
    const got = await step('one answer to each', answers);
    got.sort((a, b) => a.length - b.length);
    got.forEach((bytes, index) => sameBytes(bytes, sent[index], `answer ${index}`));
    session.close();
    return { streams: count };
  },

  async push(server) {
    const session = await server.connect('/push?uni=5&bidi=5&size=1000');
    const [uni, bidi] = await step(
      'five streams of each kind',
      Promise.all([
        accept(session.incomingUnidirectionalStreams, 5),
        accept(session.incomingBidirectionalStreams, 5),
      ]),
    );
    const readable = [...uni, ...bidi.map((stream) => stream.readable)];
    const got = await step('their bytes and FIN', Promise.all(readable.map(readAll)));
    got.forEach((bytes) => equal(bytes.length, 1000, 'bytes of a pushed stream'));
    // The server may or may not care for what the page has to say on them.
    bidi.forEach((stream) => stream.writable.close().catch(() => {}));
    await step('echo after the push', echo(session, pattern(5000)));
    session.close();
    return { streams: got.length };
  },
};
