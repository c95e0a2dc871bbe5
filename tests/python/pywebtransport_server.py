"""PyWebTransport's server, which echoes; its first line is its port: pywebtransport_server.py CERT KEY."""

import asyncio
import sys

from pywebtransport import ServerApp, ServerConfig, WebTransportStream


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


async def main(cert, key):
    app = ServerApp(config=config(cert, key))
    app.route(path="/")(echo)
    async with app:
        await app.server.listen(host="127.0.0.1", port=0)
        print(app.server.local_address[1], flush=True)
        await app.server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
