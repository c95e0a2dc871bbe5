"""PyWebTransport's server: echoes at /, and at /pubsub serves a client of pub/sub; its first line is its port.

    pywebtransport_server.py CERT KEY
"""

import asyncio
import socket
import sys

from pywebtransport import ServerApp, ServerConfig, WebTransportStream


def free_port():
    """PyWebTransport 0.8 takes port 0 for its default."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(cert, key):
    return ServerConfig(
        bind_host="127.0.0.1",
        certfile=cert,
        keyfile=key,
        initial_max_data=4 << 20,
        initial_max_streams_bidi=100,
        initial_max_streams_uni=100,
    )


async def echo_stream(session, stream):
    data = await stream.read_all()
    if not isinstance(stream, WebTransportStream):
        stream = await session.create_unidirectional_stream()
    await stream.write_all(data=data)


async def echo_datagrams(session):
    datagrams = await session.create_datagram_transport()
    while True:
        await datagrams.send(data=await datagrams.receive())


async def echo(session):
    tasks = [asyncio.create_task(echo_datagrams(session))]
    try:
        async for stream in session.incoming_streams():
            tasks.append(asyncio.create_task(echo_stream(session, stream)))
    finally:
        for task in tasks:
            task.cancel()


async def pubsub(session):
    """A broker for one client. 0.8 has none."""
    topics = set()
    async for stream in session.incoming_streams():
        while line := await stream.readline():
            match line.decode().strip().split(" ", 2):
                case ["SUB", "secret"]:
                    await stream.write(data=b"SUB-FAIL secret not for Rust\n")
                case ["SUB", topic]:
                    topics.add(topic)
                    await stream.write(data=f"SUB-OK {topic}\n".encode())
                case ["UNSUB", topic]:
                    topics.discard(topic)
                case ["PUB", topic, size]:
                    payload = await stream.readexactly(n=int(size)) if int(size) else b""
                    if topic in topics:
                        await stream.write(data=f"MSG {topic} {size}\n".encode() + payload)
        await stream.close()
        break
    await session.wait_closed()


async def main(cert, key):
    app = ServerApp(config=config(cert, key))
    app.route(path="/")(echo)
    app.route(path="/pubsub")(pubsub)
    async with app:
        await app.server.listen(host="127.0.0.1", port=free_port())
        print(app.server.local_address[1], flush=True)
        await app.server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
