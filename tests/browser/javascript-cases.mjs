// What `wt.js` does, case by case. Runs in the page, against the server of tests/tests/javascript.rs.

const { connect, PubSub, PubSubError, Rpc, RpcError } = await import(
  globalThis.window ? '/wt.js' : '../../crates/wt/examples/web/wt.js'
);

/** Members of objects in the order of their names: theirs means nothing. */
function sorted(_, value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function equal(actual, expected, what) {
  const [got, wanted] = [actual, expected].map((value) => JSON.stringify(value, sorted));
  if (got !== wanted) throw new Error(`${what}: expected ${wanted}, got ${got}`);
}

/** The error that `promise` is rejected with. */
async function rejection(promise, what) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: no error, but ${JSON.stringify(value)}`);
}

/** Waits until a check comes true. */
async function until(check) {
  while (!(await check())) await new Promise((done) => setTimeout(done, 10));
}

/** Waits for `promise`, and says after a while what is still waited for. */
async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing yet`)), 20_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function rpc({ url, hash }, methods, options) {
  return Rpc.open(await connect(`${url}/rpc`, { hash }), methods, options);
}

const ANY_TIME = 30_000;

/** The rest of a subscription up to this many messages, as text. */
async function take(subscription, count) {
  const texts = [];
  while (texts.length < count) {
    const { value, done } = await subscription.next();
    if (done) throw new Error(`over after ${JSON.stringify(texts)}`);
    texts.push(`${value.topic}: ${new TextDecoder().decode(value.payload)}`);
  }
  return texts;
}

export const cases = {
  async calls(target) {
    const server = await rpc(target);
    equal(await server.call('add', [1, 2]), 3, 'add');
    const value = { 'grüße 🙂': [1, -0.5, null, true, 'a\nb', { b: [] }] };
    equal(await server.call('echo', [value]), value, 'echo');
    const many = Array.from({ length: 50 }, (_, n) => server.call('add', [n, n]));
    equal(await Promise.all(many), many.map((_, n) => 2 * n), 'at once');
    // More than a chunk.
    equal((await server.call('zeros', [900_000])).length, 900_000, 'large answer');
    equal((await server.call('echo', ['x'.repeat(900_000)])).length, 900_000, 'large request');
    await server.notify('add', [1, 2]);
    await server.close();
    equal(await server.closed, null, 'closed');
    equal((await rejection(server.call('add', [1, 2]), 'closed')).message, 'RPC was closed by this page', 'closed');
  },

  async 'errors of calls'(target) {
    const server = await rpc(target);
    const failed = await rejection(server.call('fail'), 'fail');
    if (!(failed instanceof RpcError)) throw failed;
    equal([failed.code, failed.message, failed.data], [7, 'nö', { why: [1] }], 'fail');
    equal((await rejection(server.call('nope'), 'nope')).code, -32601, 'no such method');
    equal((await rejection(server.call('add', ['1', 2]), 'add')).code, -32602, 'wrong parameters');
    equal((await rejection(server.call('add', 5), 'add')).code, -32602, 'no parameters');
    // The stream is still in step.
    equal(await server.call('add', [1, 2]), 3, 'add');
  },

  async 'calls that are given up'(target) {
    const server = await rpc(target);
    const [before] = await server.call('forevers');
    const controller = new AbortController();
    const call = rejection(server.call('forever', [], { signal: controller.signal }), 'abort');
    await until(async () => (await server.call('forevers'))[0] > before);
    controller.abort(new Error('enough'));
    equal((await call).message, 'enough', 'aborted');
    const late = await rejection(server.call('forever', [], { timeout: 200 }), 'forever');
    equal(late.name, 'TimeoutError', 'too late');
    await until(async () => {
      const [started, givenUp] = await server.call('forevers');
      return started === givenUp;
    });
  },

  async 'limits of calls'(target) {
    const server = await rpc(target, {}, { maxMessageSize: 1000, pendingCalls: 1 });
    equal((await rejection(server.call('echo', ['x'.repeat(1000)]), 'large')).name, 'RangeError', 'too large');
    const forever = rejection(server.call('forever'), 'forever');
    equal((await rejection(server.call('add', [1, 2]), 'many')).name, 'RangeError', 'too many');
    await server.close();
    await forever;
    const strict = await rpc(target, {}, { maxMessageSize: 1000 });
    await rejection(strict.call('zeros', [2000]), 'a large answer');
    equal((await strict.closed).name, 'RangeError', 'a large answer ends it');
  },

  async 'methods of the page'(target) {
    const held = [];
    let abort;
    const aborted = new Promise((resolve) => (abort = resolve));
    const methods = {
      double: (n) => 2 * n,
      later: async ({ of }) => of,
      nothing: () => {},
      async back(n) {
        return this.rpc.call('add', [n, 1]);
      },
      wrong() {
        throw new RpcError(9, 'wrong', { at: 1 });
      },
      broken() {
        throw new TypeError('broken');
      },
      cyclic() {
        const value = {};
        return Object.assign(value, { value });
      },
      large: () => 'x'.repeat(3000),
      held: () => new Promise((release) => held.push(release)),
      forever() {
        this.signal.addEventListener('abort', () => abort(this.signal.reason.code));
        return new Promise(() => {});
      },
    };
    const server = await rpc(target, methods, { maxMessageSize: 2000, concurrency: 2 });
    const ask = (method, params, ms = ANY_TIME) => server.call('ask', [method, params, ms]);
    equal(await ask('double', [4]), { result: 8 }, 'double');
    equal(await ask('later', { of: 'named' }), { result: 'named' }, 'named');
    equal(await ask('nothing', []), { result: null }, 'nothing');
    equal(await ask('back', [1]), { result: 2 }, 'back');
    equal(await ask('wrong', []), { code: 9, data: { at: 1 }, message: 'wrong' }, 'wrong');
    equal(await ask('broken', []), { code: -32603, data: null, message: 'broken' }, 'broken');
    equal((await ask('toString', [])).code, -32601, 'only own methods');
    equal((await ask('cyclic', [])).code, -32603, 'an answer that is no JSON');
    equal((await ask('large', [])).code, -32603, 'an answer that is too large');
    // Two at a time, and no more.
    const two = [ask('held', []), ask('held', [])];
    await until(() => held.length === 2);
    equal((await ask('double', [1])).code, -32000, 'busy');
    for (const release of held) release('free');
    equal(await Promise.all(two), [{ result: 'free' }, { result: 'free' }], 'both');
    equal(await ask('double', [1]), { result: 2 }, 'not busy any more');
    await ask('forever', [], 200);
    equal(await aborted, -32800, 'the page learns that a call was given up');
  },

  async 'the server opens the stream'({ url, hash }) {
    const server = await Rpc.accept(await connect(`${url}/opens`, { hash }));
    equal(await server.call('add', [1, 2]), 3, 'add');
  },

  async 'what breaks the rules ends it'({ url, hash }) {
    const ends = async (what, kind, bytes, message, times = 1) => {
      const hex = Array.from(new TextEncoder().encode(bytes), (byte) => byte.toString(16).padStart(2, '0'));
      const session = await soon(connect(`${url}/raw?${hex.join('')}*${times}`, { hash }), `session, ${what}`);
      const client = await soon(kind.open(session), `stream, ${what}`);
      equal((await soon(client.closed, what))?.message ?? null, message, what);
    };
    await ends('length', Rpc, '\x7f\0\0\0', 'the peer announced 2130706432 bytes, at most 1048576 are allowed');
    await ends('message cut short', Rpc, '\0\0\0\x05{}', 'the stream ended within a message');
    // No JSON, nobody's answer, an answer without sense: skipped.
    await ends('noise', Rpc, '\0\0\0\x01{\0\0\0\x15{"id": 1, "error": 5}\0\0\0\x00', null);
    await ends('unknown lines', PubSub, 'HELLO\nMSG a\nMSG x 2\nhi', null);
    await ends('negative length', PubSub, 'MSG a -1\n', 'the length of a payload is no number: -1');
    await ends('payload cut short', PubSub, 'MSG a 5\nhi', 'the stream ended within a message');
    await ends('line cut short', PubSub, 'MSG a', 'the stream ended within a line');
    // More than fits a query.
    await ends('long line', PubSub, 'x', 'a line has more than 65536 bytes', 70_000);
  },

  async 'publish and subscribe'({ url, hash }) {
    const ann = await PubSub.open(await connect(`${url}/pubsub`, { hash }));
    const bob = await PubSub.open(await connect(`${url}/pubsub`, { hash }));
    const all = await ann.subscribe('rooms/#');
    const [one, again] = await Promise.all([ann.subscribe('rooms/+/words'), ann.subscribe('rooms/+/words')]);
    await bob.publish('rooms/1/words', 'grüße\nMSG x 1\n');
    await bob.publish('rooms', new Uint8Array([104, 105]));
    await bob.publish('rooms/1/words', '');
    await bob.publish('room', 'not for them');
    await bob.publish('rooms/2/words', 'x'.repeat(200_000));
    const words = ['rooms/1/words: grüße\nMSG x 1\n', 'rooms/1/words: ', `rooms/2/words: ${'x'.repeat(200_000)}`];
    equal(await take(one, 3), words, 'one level');
    equal(await take(again, 3), words, 'the same again');
    equal(await take(all, 4), [words[0], 'rooms: hi', ...words.slice(1)], 'all levels');

    // Leaving a loop unsubscribes, one of two alone changes nothing for the other.
    again.unsubscribe();
    await bob.publish('rooms/1/words', 'to one');
    for await (const { topic } of one) {
      equal(topic, 'rooms/1/words', 'one of two');
      break;
    }
    equal(await one.next(), { done: true }, 'left');
    const last = await ann.subscribe('rooms/+/words');
    await bob.publish('rooms/1/words', 'to the next');
    equal(await take(last, 1), ['rooms/1/words: to the next'], 'subscribed again');

    const refused = await rejection(ann.subscribe('secret'), 'secret');
    if (!(refused instanceof PubSubError)) throw refused;
    equal(refused.message, 'the broker refuses secret: not for you', 'refused');
    await bob.close();
    equal(await bob.closed, null, 'closed');
    await ann.close();
    equal(await last.next(), { done: true }, 'over');
    await rejection(ann.publish('a', 'b'), 'publish after the end');
    await rejection(ann.subscribe('a'), 'subscribe after the end');
  },

  async 'limits of publish and subscribe'({ url, hash }) {
    const session = await connect(`${url}/pubsub`, { hash });
    const bob = await PubSub.open(session);
    const ann = await PubSub.open(session, { maxMessageSize: 10, maxSubscriptions: 2 });
    for (const topic of ['', 'a b', 'a\n', 'x'.repeat(1025), '/'.repeat(64), '+', 'a/#', 5]) {
      equal((await rejection(bob.publish(topic, ''), `publish ${topic}`)).name, 'RangeError', `publish ${topic}`);
    }
    for (const pattern of ['', 'a b', '#/a', '\ud800']) {
      equal((await rejection(bob.subscribe(pattern), pattern)).name, 'RangeError', `subscribe ${pattern}`);
    }
    equal((await rejection(ann.publish('a', 'x'.repeat(11)), 'large')).name, 'RangeError', 'too large');

    const slow = await ann.subscribe('news', { queue: 3, patience: 0 });
    const all = await ann.subscribe('#', { queue: 100 });
    equal((await rejection(ann.subscribe('b'), 'many')).name, 'RangeError', 'too many');
    await bob.publish('news', 'x'.repeat(11));
    for (let n = 1; n <= 10; n++) await bob.publish('news', `${n}`);
    equal((await take(all, 10)).at(-1), 'news: 10', 'all of it');
    equal(ann.dropped, 1, 'too large to be taken');
    // The slow one is handed the last message before or after.
    await until(() => slow.dropped === 7);
    equal(await take(slow, 3), ['news: 8', 'news: 9', 'news: 10'], 'the latest');
    slow.unsubscribe();

    // With patience the broker waits for who reads.
    const patient = await ann.subscribe('news', { queue: 2, patience: 60_000 });
    const sent = (async () => {
      for (let n = 0; n < 500; n++) await bob.publish('news', `${n}`);
    })();
    all.unsubscribe();
    const numbers = await take(patient, 500);
    await sent;
    equal(numbers, Array.from({ length: 500 }, (_, n) => `news: ${n}`), 'nothing is lost');
    equal(patient.dropped, 0, 'nothing is dropped');
  },
};
