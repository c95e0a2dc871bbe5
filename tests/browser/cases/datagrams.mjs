import { check, datagramWriter, pattern, sameBytes, sleep, step } from '../page.mjs';

/** Hands every datagram that comes in to `take`, until the session ends. */
async function receive(session, take) {
  const reader = session.datagrams.readable.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    take(value);
  }
}

export const cases = {
  async datagrams(server) {
    const session = await server.connect('/echo');
    const count = 500;
    const size = 200;
    const seen = new Set();
    let wrong;
    receive(session, (datagram) => {
      const number = new DataView(datagram.buffer, datagram.byteOffset).getUint32(0);
      const expected = pattern(size, number + 1);
      new DataView(expected.buffer).setUint32(0, number);
      try {
        sameBytes(datagram, expected, `datagram ${number}`);
        check(!seen.has(number), `datagram ${number} came twice`);
      } catch (error) {
        wrong ??= error;
      }
      seen.add(number);
    }).catch(() => {});

    const writer = datagramWriter(session);
    for (let number = 0; number < count; number++) {
      const datagram = pattern(size, number + 1);
      new DataView(datagram.buffer).setUint32(0, number);
      await step(`datagram ${number} to be written`, writer.write(datagram));
      if (number % 10 === 9) await sleep(2);
    }
    const deadline = performance.now() + 5000;
    while (seen.size < count && performance.now() < deadline) await sleep(10);
    if (wrong) throw wrong;
    check(seen.size >= count * 0.9, `${seen.size} of ${count} datagrams came back`);
    session.close();
    return { sent: count, received: seen.size };
  },

  async 'datagram-size'(server) {
    const session = await server.connect('/echo');
    const { maxDatagramSize } = session.datagrams;
    check(
      maxDatagramSize >= 1000 && maxDatagramSize < 65536,
      `maxDatagramSize is ${maxDatagramSize}`,
    );
    const largest = pattern(maxDatagramSize);
    let answer;
    receive(session, (datagram) => (answer = datagram)).catch(() => {});
    // The way back may be narrower until the server has probed it, so ask again.
    const writer = datagramWriter(session);
    for (let tries = 0; !answer && tries < 50; tries++) {
      await writer.write(largest);
      await sleep(100);
    }
    check(answer, `no datagram of ${maxDatagramSize} bytes came back`);
    sameBytes(answer, largest, 'the largest datagram');
    session.close();
    return { maxDatagramSize };
  },
};
