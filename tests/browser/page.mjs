// What the cases share. Runs in the page.

/** The server under test, as the page reaches it. */
export class Server {
  constructor({ url, hash, protocols }) {
    this.url = url;
    this.hash = Uint8Array.from(hash.match(/../g), (byte) => parseInt(byte, 16));
    /** The subprotocols that the server was started with. */
    this.protocols = protocols;
  }

  /** Starts a session and does not wait for it. */
  dial(path, options = {}) {
    return new WebTransport(new URL(path, this.url).href, {
      serverCertificateHashes: [{ algorithm: 'sha-256', value: this.hash }],
      ...options,
    });
  }

  /** Starts a session and waits until it is ready. */
  async connect(path, options) {
    const session = this.dial(path, options);
    // A session that ends is seen by whoever waits for it; here nobody has to.
    session.closed.catch(() => {});
    session.draining?.catch?.(() => {});
    await step(`ready at ${path}`, session.ready);
    return session;
  }
}

/** Says what the case waits for, so that a case that hangs can be told where. */
export async function step(what, promise) {
  globalThis.waitingFor = what;
  const value = await promise;
  globalThis.waitingFor = undefined;
  return value;
}

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export function equal(actual, expected, what) {
  check(
    Object.is(actual, expected),
    `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`,
  );
}

/** The error that `promise` rejects with; that it does not reject is a failure. */
export async function rejection(promise, what) {
  let value;
  try {
    value = await step(what, promise);
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: expected an error, got ${JSON.stringify(value)}`);
}

/** `length` bytes that differ from place to place and from seed to seed. */
export function pattern(length, seed = 1) {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (seed * 0x9e3779b9) >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Fails at the first byte at which `actual` is not `expected`. */
export function sameBytes(actual, expected, what) {
  equal(actual.length, expected.length, `${what}: length`);
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  check(at < 0, `${what}: differs at byte ${at}`);
}

/** Writes everything and then FIN, in pieces of 64 KiB. */
export async function sendAll(writable, bytes) {
  const writer = writable.getWriter();
  for (let at = 0; at < bytes.length; at += 65536) {
    await writer.ready;
    // Not awaited: `ready` already holds back what does not fit, and `close` reports errors.
    writer.write(bytes.subarray(at, at + 65536)).catch(() => {});
  }
  await writer.close();
}

/** Everything up to FIN. */
export async function readAll(readable) {
  const chunks = [];
  let length = 0;
  for (const reader = readable.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** One exchange on a stream of its own. */
export async function echo(session, bytes) {
  const stream = await session.createBidirectionalStream();
  const [answer] = await Promise.all([readAll(stream.readable), sendAll(stream.writable, bytes)]);
  sameBytes(answer, bytes, 'echo');
}

/** The next `count` streams that the server opens. */
export async function accept(incoming, count) {
  const reader = incoming.getReader();
  const streams = [];
  while (streams.length < count) {
    const { value, done } = await reader.read();
    check(!done, `the session ended after ${streams.length} of ${count} streams`);
    streams.push(value);
  }
  reader.releaseLock();
  return streams;
}

/** Writes datagrams; browsers differ in how the writable end is had. */
export function datagramWriter(session) {
  const { datagrams } = session;
  return (datagrams.createWritable?.() ?? datagrams.writable).getWriter();
}

/** A WebTransportError with a code, by the constructor that this browser has. */
export function streamError(code) {
  try {
    const error = new WebTransportError('by the page', { source: 'stream', streamErrorCode: code });
    if (error.streamErrorCode === code) return error;
  } catch {
    // The older form, below.
  }
  return new WebTransportError({ message: 'by the page', streamErrorCode: code });
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
