import { echo, equal, pattern, rejection, step } from '../page.mjs';

const CLOSES = [
  [0, ''],
  [7, 'done'],
  [255, 'with spaces & ?=%'],
  [4294967295, 'gr\u00fc\u00dfe \u{1f44b}'],
];

export const cases = {
  async 'close-by-server'(server) {
    for (const [code, text] of CLOSES) {
      const path = `/close?code=${code}&reason=${encodeURIComponent(text)}`;
      const session = await server.connect(path);
      const { closeCode, reason } = await step(`closed at ${path}`, session.closed);
      equal(closeCode, code, 'closeCode');
      equal(reason, text, 'reason');
    }
    return { closes: CLOSES.length };
  },

  async 'close-by-page'(server) {
    for (const [code, text] of CLOSES) {
      const session = await server.connect('/echo');
      await step('echo', echo(session, pattern(100)));
      session.close({ closeCode: code, reason: text });
      const { closeCode, reason } = await step(`closed with ${code}`, session.closed);
      equal(closeCode, code, 'closeCode');
      equal(reason, text, 'reason');
      await rejection(session.createBidirectionalStream(), 'a stream after the close');
    }
    return { closes: CLOSES.length };
  },

  async drain(server) {
    const session = await server.connect('/drain');
    const known = 'draining' in session;
    if (known) await step('draining', session.draining);
    await step('echo while draining', echo(session, pattern(100_000)));
    session.close();
    await step('closed', session.closed);
    return known ? {} : { skipped: 'this browser has no WebTransport.draining; echo checked only' };
  },
};
