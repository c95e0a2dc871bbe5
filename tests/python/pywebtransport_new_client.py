"""PyWebTransport 0.21's client, which has a server echo.

    pywebtransport_new_client.py PORT echo      one session: streams, a datagram, then close with 9 and "nine"
    pywebtransport_new_client.py PORT many      50 sessions in a row, each echoing once
"""

import asyncio
import ssl
import sys

from pywebtransport import ClientConfig, WebTransportClient

PATIENCE = 20


def payload(size):
    return bytes((i * 31 + (i >> 8)) & 0xFF for i in range(size))


async def bidi(session, sent):
    stream = await session.create_bidirectional_stream()
    writing = asyncio.create_task(stream.write_all(data=sent, end_stream=True))
    answer = await stream.read_all()
    await writing
    return answer


async def echo(session):
    for size in (1, 1000, 65536, 1 << 20):
        assert await bidi(session, payload(size)) == payload(size), size

    stream = await session.create_unidirectional_stream()
    await stream.write_all(data=payload(5000), end_stream=True)
    async for answer in session.incoming_unidirectional_streams():
        assert await answer.read_all() == payload(5000)
        break

    for size in (1, 1000):
        await session.send_datagram(data=payload(size))
        assert await session.read_datagram() == payload(size), size


async def once(session):
    assert await bidi(session, b"hello") == b"hello"


async def main(port, what):
    act, count = {"echo": (echo, 1), "many": (once, 50)}[what]
    config = ClientConfig(verify_mode=ssl.CERT_NONE)
    async with WebTransportClient(config=config) as client:
        for _ in range(count):
            session = await client.connect(url=f"https://127.0.0.1:{port}/")
            await asyncio.wait_for(act(session), PATIENCE)
            await session.close(error_code=9, reason="nine")


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
print("passed")
