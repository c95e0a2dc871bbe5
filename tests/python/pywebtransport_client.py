"""PyWebTransport's client.

    pywebtransport_client.py PORT echo          has a server echo streams and a datagram
    pywebtransport_client.py PORT many          50 sessions in a row, each echoing once
    pywebtransport_client.py PORT pubsub        publishes and subscribes together with the test that started it
    pywebtransport_client.py PORT structured    has a server echo structured messages
    pywebtransport_client.py PORT rpc           calls the methods that PyWebTransport's own tests call
"""

import asyncio
import ssl
import sys
from dataclasses import dataclass

from pywebtransport import ClientConfig, StructuredStream, WebTransportClient
from pywebtransport.pubsub import PubSubManager, SubscriptionFailedError
from pywebtransport.rpc import RpcError, RpcManager, RpcTimeoutError
from pywebtransport.serializer import JSONSerializer

PATIENCE = 20


def config():
    return ClientConfig(
        verify_mode=ssl.CERT_NONE,
        initial_max_data=2 << 20,
        initial_max_streams_bidi=100,
        initial_max_streams_uni=100,
    )


def payload(size):
    return bytes((i * 31 + (i >> 8)) & 0xFF for i in range(size))


async def bidi(session, sent):
    stream = await session.create_bidirectional_stream()
    await stream.write_all(data=sent)
    return await stream.read_all()


async def echo(session):
    for size in (1, 1000, 65536, 1 << 20):
        assert await bidi(session, payload(size)) == payload(size), size

    stream = await session.create_unidirectional_stream()
    await stream.write_all(data=payload(5000))
    async for answer in session.incoming_streams():
        assert await answer.read_all() == payload(5000)
        break

    datagrams = await session.create_datagram_transport()
    await datagrams.send(data=b"datagram")
    assert await datagrams.receive(timeout=PATIENCE) == b"datagram"


async def once(session):
    assert await bidi(session, b"hello") == b"hello"


async def pubsub(session):
    async with PubSubManager(stream=await session.create_bidirectional_stream()) as manager:
        try:
            await manager.subscribe(topic="secret", timeout=PATIENCE)
            raise AssertionError("subscribed to what is secret")
        except SubscriptionFailedError as error:
            assert "not for Python" in str(error), error

        subscription = await manager.subscribe(topic="to-python", timeout=PATIENCE)
        own = await manager.subscribe(topic="to-rust", timeout=PATIENCE)
        async with subscription as messages, own as echoes:
            await manager.publish(topic="to-rust", data="ready")
            async for data in messages:
                await manager.publish(topic="to-rust", data=data)
                if data == b"unsubscribe":
                    break
            # What it publishes comes back, since it is subscribed to that as well.
            async for data in echoes:
                if data == b"unsubscribe":
                    break
        # Unsubscribed: silence.
        again = await manager.subscribe(topic="again", timeout=PATIENCE)
        async with again as messages:
            await manager.publish(topic="to-rust", data=b"unsubscribed")
            async for data in messages:
                assert data == b"again", data
                break
            assert manager.stats.messages_received == 12, manager.stats
            await manager.publish(topic="to-rust", data=b"done")
            # The manager resets its stream at its end, and a reset overtakes what was written before it:
            # wait until that has arrived.
            async for data in messages:
                assert data == b"goodbye", data
                break


@dataclass
class UserData:
    id: int
    name: str
    email: str


@dataclass
class StatusUpdate:
    status: str
    timestamp: float


async def structured(session):
    stream = StructuredStream(
        stream=await session.create_bidirectional_stream(),
        serializer=JSONSerializer(),
        registry={1: UserData, 2: StatusUpdate},
    )
    user = UserData(id=1, name="Zoë", email="zoe@example.com")
    for sent in (user, StatusUpdate(status="ok", timestamp=0.5)):
        await stream.send_obj(obj=sent)
        assert await stream.receive_obj() == sent
    await stream.close()


async def rpc(session):
    stream = await session.create_bidirectional_stream()
    async with RpcManager(stream=stream, session_id=session.session_id) as manager:
        assert await manager.call("add", 2, 3) == 5
        assert await manager.call("get_user", 7) == {"id": 7, "name": "User 7"}
        assert await manager.call("log_message", "hello") is None
        for method, code, words in (
            ("divide", -32603, "division by zero"),
            ("nothing", -32601, ""),
        ):
            try:
                await manager.call(method, 10, 0)
                raise AssertionError(method)
            except RpcError as error:
                assert error.error_code == code and words in str(error), error
        calls = (manager.call("add", n, n) for n in range(5))
        assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8]
        try:
            await manager.call("slow_operation", 2, timeout=0.2)
            raise AssertionError("slow_operation was fast")
        except RpcTimeoutError:
            pass


async def main(port, what):
    act, count, path = {
        "echo": (echo, 1, "/"),
        "many": (once, 50, "/"),
        "pubsub": (pubsub, 1, "/pubsub"),
        "structured": (structured, 1, "/structured-echo/json"),
        "rpc": (rpc, 1, "/rpc"),
    }[what]
    async with WebTransportClient(config=config()) as client:
        for _ in range(count):
            session = await client.connect(url=f"https://127.0.0.1:{port}{path}")
            await asyncio.wait_for(act(session), PATIENCE)
            await session.close(code=9, reason="nine")


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
print("passed")
