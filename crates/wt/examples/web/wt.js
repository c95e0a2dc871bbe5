// Calls in both directions and publish-subscribe over WebTransport, for pages: the other end of
// `wt::messaging::rpc` and `wt::messaging::pubsub`. One module, without a build and without dependencies;
// copy it next to your page. docs/guide/javascript.md shows how it is used.

/** The largest message, sent or received, in bytes, unless an option says otherwise: 1 MiB. */
export const MAX_MESSAGE_SIZE = 1 << 20;

/** Bytes that may be written ahead of the network: 1 MiB. Beyond it, what sends waits. */
const SEND_BUFFER = 1 << 20;
/** The longest line of publish-subscribe, LF included, and the longest topic, in bytes. */
const MAX_LINE = 65_536;
const MAX_TOPIC = 1024;
const MAX_LEVELS = 64;

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Connects, and waits until the session is there.
 *
 * @param {string} url - `https://host:port/path`.
 * @param {WebTransportOptions & {hash?: string}} [options] - Those of `WebTransport`; and `hash`, the SHA-256
 *   of the server's certificate in hexadecimal digits, for a certificate that no authority has signed.
 * @returns {Promise<WebTransport>} The session.
 * @throws {Error} When there is no session, whatever the reason: browsers do not tell pages.
 */
export async function connect(url, { hash, ...options } = {}) {
  if (hash) {
    const value = Uint8Array.from(hash.match(/[0-9a-f]{2}/gi), (byte) => parseInt(byte, 16));
    options.serverCertificateHashes = [{ algorithm: 'sha-256', value }];
  }
  const transport = new WebTransport(url, options);
  // Who wants to know how it ended asks for `closed` itself.
  transport.closed.catch(() => {});
  await transport.ready;
  return transport;
}

// ---- RPC

/**
 * An error that crosses the wire: thrown by a method here, the caller gets its code, message and data; a
 * call whose method failed there is rejected with one. Codes from -32768 to -32000 belong to JSON-RPC.
 */
export class RpcError extends Error {
  /**
   * @param {number} code - What kind of error it is.
   * @param {string} message - What happened, for people to read.
   * @param {*} [data] - More about it, for programs to read.
   */
  constructor(code, message, data) {
    super(message);
    this.name = 'RpcError';
    this.code = code;
    this.data = data;
  }
}

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;
const BUSY = -32000;
const CANCELLED = -32800;
const CANCEL = '$/cancelRequest';

/**
 * Calls in both directions on one stream: a length of 32 bits and JSON, in any order.
 *
 * A method is a function, async or not. Its parameters are those of the call; named ones come as one object.
 * Within a `function`, `this` has the `rpc` to call back, and a `signal` that is aborted when the caller gives
 * up. What it returns is the result; what it throws is the error, in the words of its message.
 */
export class Rpc {
  #stream;
  #methods;
  #options;
  /** Our calls that wait for an answer, by id. */
  #pending = new Map();
  /** Methods at work for the peer: how to abort each. */
  #running = new Map();
  /** Frames of ours that wait for room to be sent. */
  #sending = 0;
  #ended = null;

  /**
   * Opens a stream for RPC. The server accepts it with `Rpc::accept`.
   *
   * @param {WebTransport} transport - The session.
   * @param {Object<string, Function>} [methods] - What the server may call, by name.
   * @param {RpcOptions} [options] - Limits.
   * @returns {Promise<Rpc>}
   */
  static async open(transport, methods, options) {
    return new Rpc(await transport.createBidirectionalStream(), methods, options);
  }

  /**
   * Waits for the next stream that the server opens, for RPC: the other end of the server's `Rpc::open`.
   *
   * @param {WebTransport} transport - The session.
   * @param {Object<string, Function>} [methods] - What the server may call, by name.
   * @param {RpcOptions} [options] - Limits.
   * @returns {Promise<Rpc>}
   * @throws {Error} When the session ends first.
   */
  static async accept(transport, methods, options) {
    const streams = transport.incomingBidirectionalStreams.getReader();
    try {
      const { value, done } = await streams.read();
      if (done) throw new Error('the session ended before the server opened a stream');
      return new Rpc(value, methods, options);
    } finally {
      streams.releaseLock();
    }
  }

  /**
   * Speaks RPC on a stream that is there.
   *
   * @typedef {object} RpcOptions
   * @property {number} [maxMessageSize] - The largest request or answer, in bytes; 1 MiB by default. Larger
   *   ones are not sent; a peer that announces one ends RPC.
   * @property {number} [timeout] - How long a call may take, in milliseconds; 30,000 by default, `Infinity`
   *   for as long as it wants.
   * @property {number} [pendingCalls] - How many calls may wait for answers; 1024 by default. Further ones are
   *   rejected.
   * @property {number} [concurrency] - How many methods may run for the peer at a time; 100 by default.
   *   Further requests are answered with -32000.
   *
   * @param {WebTransportBidirectionalStream} stream - The stream.
   * @param {Object<string, Function>} [methods] - What the peer may call, by name.
   * @param {RpcOptions} [options] - Limits.
   */
  constructor(stream, methods = {}, options = {}) {
    this.#stream = new Duplex(stream);
    this.#methods = new Map(Object.entries(methods));
    this.#options = {
      maxMessageSize: MAX_MESSAGE_SIZE,
      timeout: 30_000,
      pendingCalls: 1024,
      concurrency: 100,
      ...options,
    };
    /**
     * Settles when RPC is over: with `null` when either end finished it in order, otherwise with the error.
     * It is never rejected.
     *
     * @type {Promise<?Error>}
     */
    this.closed = this.#run();
  }

  /**
   * Calls a method of the peer.
   *
   * @param {string} method - Its name.
   * @param {Array|object} [params] - A list of positional parameters, or an object with named ones.
   * @param {{timeout?: number, signal?: AbortSignal}} [options] - Another time limit, in milliseconds, and what
   *   gives the call up. In both cases the peer is told.
   * @returns {Promise<*>} The result.
   * @throws {RpcError} When the peer answered with an error.
   * @throws {DOMException} `TimeoutError` when time ran out.
   * @throws {RangeError} When the request is too large, or too many calls wait.
   * @throws {Error} When RPC is over; and whatever the signal was aborted with.
   */
  async call(method, params = [], { timeout = this.#options.timeout, signal } = {}) {
    signal?.throwIfAborted();
    const id = crypto.randomUUID();
    const frame = this.#frame({ id, method, params });
    if (this.#pending.size >= this.#options.pendingCalls) {
      throw new RangeError(`${this.#pending.size} calls wait for answers already`);
    }
    let timer;
    let abort;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        const giveUp = (reason) => {
          if (this.#pending.delete(id)) this.#tell({ method: CANCEL, params: { id } });
          reject(reason);
        };
        // Beyond it timers overflow.
        if (timeout < 2 ** 31) {
          const late = () => new DOMException(`no answer to ${method} after ${timeout} ms`, 'TimeoutError');
          timer = setTimeout(() => giveUp(late()), timeout);
        }
        abort = () => giveUp(signal.reason);
        signal?.addEventListener('abort', abort);
        this.#send(frame).catch(reject);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      this.#pending.delete(id);
    }
  }

  /**
   * Has a method of the peer run, without an answer.
   *
   * @param {string} method - Its name.
   * @param {Array|object} [params] - As in `call`.
   * @returns {Promise<void>} Settles when the notification is on its way.
   * @throws {RangeError} When it is too large, or too many wait to be sent.
   * @throws {Error} When RPC is over.
   */
  async notify(method, params = []) {
    await this.#send(this.#frame({ method, params }));
  }

  /**
   * Ends RPC: calls that wait are rejected, methods at work are aborted.
   *
   * @returns {Promise<void>} Settles when everything is on its way.
   */
  async close() {
    this.#end(new Error('RPC was closed by this page'));
    await this.#stream.finish();
  }

  async #run() {
    let why = null;
    try {
      for (;;) {
        const payload = await this.#receive();
        if (payload === null) break;
        this.#incoming(payload);
        // Nothing is read while the peer does not take our answers: they cannot pile up.
        await this.#stream.room();
      }
      // The peer answers no more, and may still wait for answers.
      this.#refuse(new Error('RPC is over: the peer has finished its side'));
      await Promise.all([...this.#running.values()].map(({ done }) => done));
      await this.#stream.finish();
    } catch (error) {
      if (!this.#ended) why = error;
    }
    if (why) this.#stream.abort(why);
    this.#end(why ?? new Error('RPC is over'));
    return why;
  }

  #refuse(why) {
    this.#ended ??= why;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }

  #end(why) {
    this.#refuse(why);
    for (const { controller } of this.#running.values()) controller.abort(why);
  }

  async #receive() {
    const head = await this.#stream.exactly(4, true);
    if (head === null) return null;
    const size = new DataView(head.buffer, head.byteOffset).getUint32(0);
    const { maxMessageSize } = this.#options;
    if (size > maxMessageSize) {
      throw new RangeError(`the peer announced ${size} bytes, at most ${maxMessageSize} are allowed`);
    }
    return this.#stream.exactly(size);
  }

  #incoming(payload) {
    let message;
    try {
      message = JSON.parse(decoder.decode(payload));
    } catch {
      this.#answer(null, new RpcError(PARSE_ERROR, 'The message is not JSON in UTF-8.'));
      return;
    }
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      this.#answer(null, new RpcError(INVALID_REQUEST, 'Not a request.'));
    } else if ('method' in message) {
      this.#request(message);
    } else {
      this.#response(message);
    }
  }

  #response({ id, error, result }) {
    const call = this.#pending.get(id);
    // It may have been given up this moment.
    if (!call) return;
    this.#pending.delete(id);
    if (error !== undefined) {
      const { code, message, data } = error ?? {};
      const words = typeof message === 'string' ? message : 'Unknown RPC error';
      call.reject(new RpcError(Number.isInteger(code) ? code : 1, words, data));
    } else {
      call.resolve(result);
    }
  }

  #request({ id = null, method, params = [] }) {
    if (method === CANCEL && id === null) {
      this.#running.get(key(params?.id))?.controller.abort(new RpcError(CANCELLED, 'The call was cancelled.'));
      return;
    }
    const handler = this.#methods.get(method);
    const refuse = (code, words) => {
      if (id !== null) this.#answer(id, new RpcError(code, words));
    };
    if (typeof method !== 'string') return refuse(INVALID_REQUEST, 'The method has to be a string.');
    if (!handler) return refuse(METHOD_NOT_FOUND, `Method '${method}' not found.`);
    if (typeof params !== 'object' || params === null) {
      return refuse(INVALID_PARAMS, 'Parameters must be a list.');
    }
    if (this.#running.size >= this.#options.concurrency) return refuse(BUSY, 'Too many requests wait.');
    // A notification has no id, but runs as well; and ids are the caller's.
    const job = id !== null && !this.#running.has(key(id)) ? key(id) : Symbol();
    const controller = new AbortController();
    const done = this.#work(id, handler, params, controller.signal).finally(() => this.#running.delete(job));
    this.#running.set(job, { controller, done });
  }

  async #work(id, handler, params, signal) {
    let outcome;
    try {
      const self = { rpc: this, signal };
      const args = Array.isArray(params) ? params : [params];
      // A method that does not look at the signal goes on, but nobody waits for it.
      const aborted = new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
      const work = Promise.resolve().then(() => handler.apply(self, args));
      outcome = { result: (await Promise.race([work, aborted])) ?? null };
    } catch (error) {
      outcome = error instanceof RpcError ? error : new RpcError(INTERNAL_ERROR, String(error?.message ?? error));
    }
    if (id !== null) await this.#answer(id, outcome);
  }

  async #answer(id, outcome) {
    const asError = ({ code, message, data }) => ({ id, error: { code, message, data } });
    let frame;
    try {
      frame = this.#frame(outcome instanceof RpcError ? asError(outcome) : { id, ...outcome });
    } catch (error) {
      // Too large, or nothing that JSON has a form for.
      const { message } = error;
      try {
        frame = this.#frame(asError({ code: INTERNAL_ERROR, message }));
      } catch {
        // The id alone is too large.
        return;
      }
    }
    // When it cannot be sent, RPC is over and `closed` says why.
    await this.#stream.send(frame).catch(() => {});
  }

  #frame(message) {
    const payload = encoder.encode(JSON.stringify(message));
    const { maxMessageSize } = this.#options;
    if (payload.length > maxMessageSize) {
      throw new RangeError(`the message has ${payload.length} bytes, at most ${maxMessageSize} are allowed`);
    }
    const frame = new Uint8Array(4 + payload.length);
    new DataView(frame.buffer).setUint32(0, payload.length);
    frame.set(payload, 4);
    return frame;
  }

  async #send(frame) {
    if (this.#ended) throw this.#ended;
    const { pendingCalls } = this.#options;
    if (this.#sending >= pendingCalls) throw new RangeError(`${pendingCalls} messages wait to be sent already`);
    this.#sending++;
    try {
      await this.#stream.send(frame);
    } finally {
      this.#sending--;
    }
  }

  /** Sends what may be lost, and what nobody waits for. */
  #tell(message) {
    if (!this.#ended) this.#send(this.#frame(message)).catch(() => {});
  }
}

/** What an id is known by here: ids are JSON, and 1 is not "1". */
function key(id) {
  return JSON.stringify(id);
}

// ---- publish-subscribe

/** Why a topic was refused, or why publish-subscribe is over. */
export class PubSubError extends Error {
  /** @param {string} message - What happened. */
  constructor(message) {
    super(message);
    this.name = 'PubSubError';
  }
}

/**
 * A client of a broker, on one stream: the protocol of PyWebTransport 0.8.
 *
 * Topics are texts without whitespace, with levels between `/`. To subscribe, a level may be `+`, for any one
 * level, and the last one `#`, for any number of levels.
 */
export class PubSub {
  #stream;
  #options;
  /** What we are subscribed to: whether the broker has confirmed, and our subscriptions. */
  #topics = new Map();
  #count = 0;
  #publishing = 0;
  #dropped = 0;
  #ended = null;

  /**
   * Opens a stream to the broker of the server: to `PubSubService::serve`.
   *
   * @param {WebTransport} transport - The session.
   * @param {PubSubOptions} [options] - Limits.
   * @returns {Promise<PubSub>}
   */
  static async open(transport, options) {
    return new PubSub(await transport.createBidirectionalStream(), options);
  }

  /**
   * Uses a stream that is there.
   *
   * @typedef {object} PubSubOptions
   * @property {number} [maxMessageSize] - The largest payload, in bytes; 1 MiB by default. Larger ones are not
   *   published, and those that come are dropped and counted.
   * @property {number} [maxSubscriptions] - How many subscriptions there may be; 256 by default.
   * @property {number} [publishing] - How many calls of `publish` may wait for room; 1024 by default.
   *
   * @param {WebTransportBidirectionalStream} stream - The stream.
   * @param {PubSubOptions} [options] - Limits.
   */
  constructor(stream, options = {}) {
    this.#stream = new Duplex(stream);
    this.#options = { maxMessageSize: MAX_MESSAGE_SIZE, maxSubscriptions: 256, publishing: 1024, ...options };
    /**
     * Settles when it is over: with `null` when either end finished it in order, otherwise with the error. It
     * is never rejected.
     *
     * @type {Promise<?Error>}
     */
    this.closed = this.#run();
  }

  /**
   * How many messages were dropped for their size.
   *
   * @returns {number}
   */
  get dropped() {
    return this.#dropped;
  }

  /**
   * Publishes a message. There is no answer: a message that the broker does not allow is dropped there.
   *
   * @param {string} topic - Where to: no wildcards.
   * @param {string|Uint8Array} payload - Text is sent as UTF-8.
   * @returns {Promise<void>} Settles when the message is on its way.
   * @throws {RangeError} When the topic is none, the payload too large, or too many wait to be sent.
   * @throws {Error} When it is over.
   */
  async publish(topic, payload) {
    check(topic, false);
    const body = typeof payload === 'string' ? encoder.encode(payload) : payload;
    const { maxMessageSize, publishing } = this.#options;
    if (body.length > maxMessageSize) {
      throw new RangeError(`the payload has ${body.length} bytes, at most ${maxMessageSize} are allowed`);
    }
    if (this.#ended) throw this.#ended;
    if (this.#publishing >= publishing) throw new RangeError(`${publishing} messages wait to be sent already`);
    const head = encoder.encode(`PUB ${topic} ${body.length}\n`);
    const whole = new Uint8Array(head.length + body.length);
    whole.set(head);
    whole.set(body, head.length);
    this.#publishing++;
    try {
      await this.#stream.send(whole);
    } finally {
      this.#publishing--;
    }
  }

  /**
   * Subscribes, and waits until the broker has confirmed.
   *
   * @typedef {object} SubscribeOptions
   * @property {number} [queue] - How many messages may wait to be taken; 256 by default.
   * @property {number} [queueBytes] - How many bytes they may have together; 4 MiB by default. One message
   *   is taken whatever its size.
   * @property {number} [patience] - How long the broker's other messages wait for this subscription when its
   *   queue is full, in milliseconds; 250 by default. After that its oldest messages are dropped and counted,
   *   until it has caught up by half.
   * @property {number} [timeout] - How long to wait for the broker, in milliseconds; 10,000 by default.
   *
   * @param {string} pattern - A topic, or a pattern of topics.
   * @param {SubscribeOptions} [options] - Limits.
   * @returns {Promise<Subscription>}
   * @throws {RangeError} When the pattern is none, or there are too many subscriptions.
   * @throws {PubSubError} When the broker refuses, with its reason.
   * @throws {DOMException} `TimeoutError` when the broker does not answer.
   * @throws {Error} When it is over.
   */
  async subscribe(pattern, { timeout = 10_000, ...options } = {}) {
    check(pattern, true);
    if (this.#ended) throw this.#ended;
    const { maxSubscriptions } = this.#options;
    if (this.#count >= maxSubscriptions) throw new RangeError(`there are ${maxSubscriptions} subscriptions already`);
    let entry = this.#topics.get(pattern);
    const first = !entry;
    if (first) {
      entry = { confirmed: false, waiting: new Set(), locals: new Set() };
      this.#topics.set(pattern, entry);
    }
    const subscription = new Subscription(pattern, options, () => this.#leave(pattern, subscription));
    entry.locals.add(subscription);
    this.#count++;
    if (entry.confirmed) return subscription;
    let timer;
    const waiter = {};
    try {
      await new Promise((resolve, reject) => {
        Object.assign(waiter, { resolve, reject });
        entry.waiting.add(waiter);
        const late = () => new DOMException(`no answer to SUB ${pattern} after ${timeout} ms`, 'TimeoutError');
        timer = setTimeout(() => reject(late()), timeout);
        if (first) this.#stream.send(encoder.encode(`SUB ${pattern}\n`)).catch(reject);
      });
      return subscription;
    } catch (error) {
      subscription.unsubscribe();
      throw error;
    } finally {
      clearTimeout(timer);
      entry.waiting.delete(waiter);
    }
  }

  /**
   * Ends all subscriptions, and the stream behind what was published.
   *
   * @returns {Promise<void>} Settles when everything is on its way.
   */
  async close() {
    this.#end(new PubSubError('publish-subscribe was closed by this page'));
    await this.#stream.finish();
  }

  #leave(pattern, subscription) {
    const entry = this.#topics.get(pattern);
    if (!entry?.locals.delete(subscription)) return;
    this.#count--;
    if (entry.locals.size > 0) return;
    this.#topics.delete(pattern);
    // When it cannot be sent, it is over anyway.
    if (!this.#ended) this.#stream.send(encoder.encode(`UNSUB ${pattern}\n`)).catch(() => {});
  }

  async #run() {
    let why = null;
    try {
      for (;;) {
        const line = await this.#stream.line(MAX_LINE);
        if (line === null) break;
        await this.#command(line);
      }
      await this.#stream.finish();
    } catch (error) {
      if (!this.#ended) why = error;
    }
    if (why) this.#stream.abort(why);
    this.#end(why ?? new PubSubError('the broker ended publish-subscribe'));
    return why;
  }

  #end(why) {
    if (this.#ended) return;
    this.#ended = why;
    for (const { waiting, locals } of this.#topics.values()) {
      for (const { reject } of waiting) reject(why);
      for (const local of [...locals]) local.end();
    }
    this.#topics.clear();
    this.#count = 0;
  }

  async #command(line) {
    const parts = line.trim().split(' ');
    const [verb, topic] = parts;
    const rest = parts.slice(2).join(' ');
    const entry = this.#topics.get(topic);
    if (verb === 'MSG' && parts.length > 2) {
      await this.#message(topic, rest);
    } else if (verb === 'SUB-OK' && parts.length === 2 && entry) {
      entry.confirmed = true;
      for (const { resolve } of entry.waiting) resolve();
    } else if (verb === 'SUB-FAIL' && parts.length > 2 && entry) {
      this.#topics.delete(topic);
      this.#count -= entry.locals.size;
      for (const { reject } of entry.waiting) reject(new PubSubError(`the broker refuses ${topic}: ${rest}`));
      for (const local of [...entry.locals]) local.end();
    }
    // Anything else is of another version: skipped.
  }

  async #message(topic, length) {
    if (!/^[0-9]{1,15}$/.test(length)) throw new PubSubError(`the length of a payload is no number: ${length}`);
    const size = Number(length);
    if (size > this.#options.maxMessageSize) {
      this.#dropped++;
      await this.#stream.skip(size);
      return;
    }
    const bytes = await this.#stream.exactly(size);
    // The chunk that it is a part of is not to be kept for it.
    const payload = bytes.slice();
    for (const [pattern, { locals }] of this.#topics) {
      if (!matches(pattern, topic)) continue;
      for (const local of [...locals]) await local.push({ topic, payload });
    }
  }
}

/**
 * A message as it came.
 *
 * @typedef {object} Message
 * @property {string} topic - What it was published under.
 * @property {Uint8Array} payload - Its bytes. Subscriptions share them: do not change them.
 */

/**
 * What a topic or a pattern brings: iterate with `for await`. Leaving the loop unsubscribes.
 *
 * @implements {AsyncIterableIterator<Message>}
 */
export class Subscription {
  #leave;
  #options;
  #messages = [];
  #bytes = 0;
  #dropped = 0;
  #stalled = false;
  #over = false;
  /** Who waits for a message, and who waits for room. */
  #takers = [];
  #room = null;

  /**
   * Made by `PubSub.subscribe`.
   *
   * @param {string} pattern - What it is to.
   * @param {SubscribeOptions} options - Limits.
   * @param {function(): void} leave - Called when it ends.
   */
  constructor(pattern, options, leave) {
    /** What it is to. */
    this.pattern = pattern;
    this.#options = { queue: 256, queueBytes: 4 << 20, patience: 250, ...options };
    this.#leave = leave;
  }

  /**
   * How many messages were dropped because nobody took them.
   *
   * @returns {number}
   */
  get dropped() {
    return this.#dropped;
  }

  /**
   * Takes the next message; waits while there is none.
   *
   * @returns {Promise<IteratorResult<Message>>} `done` when the subscription is over and all was taken.
   */
  next() {
    const value = this.#messages.shift();
    if (value) {
      this.#bytes -= value.payload.length;
      const { queue, queueBytes } = this.#options;
      if (this.#messages.length <= queue / 2 && this.#bytes <= queueBytes / 2) {
        this.#stalled = false;
        this.#room?.();
      }
      return Promise.resolve({ value, done: false });
    }
    if (this.#over) return Promise.resolve({ value: undefined, done: true });
    return new Promise((taker) => this.#takers.push(taker));
  }

  /**
   * Unsubscribes, and forgets the messages that wait. May be called again.
   */
  unsubscribe() {
    this.#messages.length = 0;
    this.#bytes = 0;
    this.end();
  }

  /**
   * Called when a loop is left: unsubscribes.
   *
   * @returns {Promise<IteratorResult<Message>>}
   */
  async return(value) {
    this.unsubscribe();
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /**
   * Hands a message in; called by `PubSub`. Waits for a reader that is behind, at most for its patience.
   *
   * @param {Message} message - The message.
   * @returns {Promise<void>}
   */
  async push(message) {
    const { queue, queueBytes, patience } = this.#options;
    const size = message.payload.length;
    const full = () =>
      this.#messages.length > 0 && (this.#messages.length >= queue || this.#bytes + size > queueBytes);
    if (full() && !this.#stalled && !this.#over) {
      let timer;
      await new Promise((room) => {
        this.#room = room;
        timer = setTimeout(room, patience);
      });
      clearTimeout(timer);
      this.#room = null;
      this.#stalled = full();
    }
    if (this.#over) return;
    const taker = this.#takers.shift();
    if (taker) {
      taker({ value: message, done: false });
      return;
    }
    while (full()) {
      this.#bytes -= this.#messages.shift().payload.length;
      this.#dropped++;
    }
    this.#messages.push(message);
    this.#bytes += size;
  }

  /** Ends it behind the messages that wait; called by `PubSub`. */
  end() {
    if (this.#over) return;
    this.#over = true;
    this.#room?.();
    for (const taker of this.#takers.splice(0)) taker({ value: undefined, done: true });
    this.#leave();
  }
}

/**
 * Fails unless a text is a topic, or a pattern where one is allowed.
 */
function check(text, wildcards) {
  const refuse = (why) => {
    throw new RangeError(`no topic: ${JSON.stringify(text)} ${why}`);
  };
  if (typeof text !== 'string' || text === '') refuse('is empty or no text');
  if (encoder.encode(text).length > MAX_TOPIC) refuse(`has more than ${MAX_TOPIC} bytes`);
  if (/[\s\p{Cc}\p{Cs}]/u.test(text)) refuse('has whitespace or control characters');
  const levels = text.split('/');
  if (levels.length > MAX_LEVELS) refuse(`has more than ${MAX_LEVELS} levels`);
  if (!wildcards && (levels.includes('+') || levels.includes('#'))) refuse('has wildcards');
  if (levels.slice(0, -1).includes('#')) refuse('has # before its last level');
}

/** Whether a topic matches a pattern. */
function matches(pattern, topic) {
  if (pattern === topic) return true;
  const levels = topic.split('/');
  const parts = pattern.split('/');
  for (const [at, part] of parts.entries()) {
    if (part === '#') return true;
    if (at >= levels.length || (part !== '+' && part !== levels[at])) return false;
  }
  return parts.length === levels.length;
}

// ---- streams

/** A stream to read pieces of known size from, and to write to without running ahead of the network. */
class Duplex {
  #reader;
  #writer;
  #chunk = EMPTY;
  #unsent = 0;
  #last = Promise.resolve();
  #finished = false;

  constructor({ readable, writable }) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // Whoever reads or writes next is told.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
  }

  async #more() {
    while (this.#chunk.length === 0) {
      const { value, done } = await this.#reader.read();
      if (done) return false;
      this.#chunk = value;
    }
    return true;
  }

  #take(size) {
    const part = this.#chunk.subarray(0, size);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }

  /** The next `size` bytes; `null` where the stream may end and did. Memory grows with what has arrived. */
  async exactly(size, mayEnd = false) {
    if (this.#chunk.length >= size) return this.#take(size);
    const parts = [];
    let length = 0;
    while (length < size) {
      if (!(await this.#more())) {
        if (mayEnd && length === 0) return null;
        throw new Error('the stream ended within a message');
      }
      const part = this.#take(size - length);
      parts.push(part);
      length += part.length;
    }
    return concat(parts, length);
  }

  /** The next line without its LF; `null` when the stream ended before it. */
  async line(max) {
    const parts = [];
    let length = 0;
    for (;;) {
      if (!(await this.#more())) {
        if (length === 0) return null;
        throw new Error('the stream ended within a line');
      }
      const end = this.#chunk.indexOf(0x0a);
      const part = this.#take(end < 0 ? this.#chunk.length : end + 1);
      parts.push(part);
      length += part.length;
      if (length > max) throw new RangeError(`a line has more than ${max} bytes`);
      if (end >= 0) return decoder.decode(concat(parts, length).subarray(0, -1));
    }
  }

  /** Throws bytes away as they arrive. */
  async skip(size) {
    for (let left = size; left > 0; ) {
      if (!(await this.#more())) throw new Error('the stream ended within a message');
      left -= this.#take(left).length;
    }
  }

  /** Waits until there is room to write, or no more writing. */
  async room() {
    if (this.#unsent > SEND_BUFFER) await this.#last.catch(() => {});
  }

  /** Writes; settles when the bytes are taken, or when there is room for more behind them. */
  async send(bytes) {
    if (this.#finished) throw new Error('the stream is finished');
    this.#unsent += bytes.length;
    const written = this.#writer.write(bytes).finally(() => {
      this.#unsent -= bytes.length;
    });
    this.#last = written;
    if (this.#unsent > SEND_BUFFER) {
      await written;
    } else {
      // The next one who writes is told.
      written.catch(() => {});
    }
  }

  /** Ends our side behind what was written, and reads no more. */
  async finish() {
    if (this.#finished) return;
    this.#finished = true;
    // A peer that is gone or reads no more is no reason to fail.
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
  }

  abort(why) {
    this.#finished = true;
    this.#writer.abort(why).catch(() => {});
    this.#reader.cancel(why).catch(() => {});
  }
}

function concat(parts, length) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
