import { check, equal, readAll, rejection, step, streamError } from '../page.mjs';

// Both sides of the reserved code points that the mapping to HTTP/3 skips, and both ends.
const FROM_SERVER = [0, 1, 29, 30, 31, 255, 256, 4294967295];
const FROM_PAGE = [0, 1, 29, 30, 31, 255];

/** Firefox ends streams with a TypeError, whatever the code was. */
const tellsCodes = () => !navigator.userAgent.includes('Firefox');
const skipped = () => (tellsCodes() ? {} : { skipped: 'this browser tells no codes; ends checked only' });

function isStreamError(error, code, what) {
  if (!tellsCodes()) return;
  check(error instanceof WebTransportError, `${what}: not a WebTransportError: ${error}`);
  equal(error.source, 'stream', `${what}: source`);
  equal(error.streamErrorCode, code, `${what}: streamErrorCode`);
}

export const cases = {
  async 'reset-by-server'(server) {
    let withoutCode = 0;
    for (const code of FROM_SERVER) {
      const session = await server.connect(`/reset?code=${code}`);

      const bidi = await session.createBidirectionalStream();
      const writer = bidi.writable.getWriter();
      const stopped = rejection(writer.closed, `the bidi stream stopped with ${code}`);
      writer.write(new Uint8Array(10)).catch(() => {});
      const reset = await rejection(readAll(bidi.readable), `the bidi stream reset with ${code}`);
      isStreamError(reset, code, `bidi reset ${code}`);
      // Next to a reset Chromium sometimes loses the code of STOP_SENDING, and then gives an
      // error of another type.
      if ((await stopped)?.streamErrorCode !== code) withoutCode += 1;

      const uni = (await session.createUnidirectionalStream()).getWriter();
      const uniStopped = rejection(uni.closed, `the uni stream stopped with ${code}`);
      uni.write(new Uint8Array(10)).catch(() => {});
      isStreamError(await uniStopped, code, `uni stop ${code}`);
      session.close();
    }
    return { codes: FROM_SERVER.length, bidi_stops_without_code: withoutCode, ...skipped() };
  },

  async 'reset-by-page'(server) {
    const session = await server.connect('/echo');
    for (const code of FROM_PAGE) {
      const stream = await session.createBidirectionalStream();
      const writer = stream.writable.getWriter();
      const reader = stream.readable.getReader();
      await step('the write', writer.write(new Uint8Array(10)));
      const { value } = await step('the echo before the reset', reader.read());
      check(value.length > 0, 'an empty echo');
      await writer.abort(streamError(code));
      const answer = (async () => {
        while (!(await reader.read()).done);
      })();
      isStreamError(await rejection(answer, `the answer to reset ${code}`), code, `reset ${code}`);
    }
    session.close();
    return { codes: FROM_PAGE.length, ...skipped() };
  },
};
