"""PyWebTransport's client, which has a server echo: pywebtransport_client.py PORT echo|many."""

import asyncio
import ssl
import sys

from pywebtransport import ClientConfig, WebTransportClient

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


async def main(port, what):
    act, count = {"echo": (echo, 1), "many": (once, 50)}[what]
    async with WebTransportClient(config=config()) as client:
        for _ in range(count):
            session = await client.connect(url=f"https://127.0.0.1:{port}/")
            await asyncio.wait_for(act(session), PATIENCE)
            await session.close(code=9, reason="nine")


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
print("passed")
