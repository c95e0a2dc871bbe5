"""PyWebTransport 0.21's server, which echoes; its first line is its port.

    pywebtransport_new_server.py CERT KEY
"""

import asyncio
import socket
import sys

from pywebtransport import ServerConfig, SessionError, WebTransportServer


async def bidi(session):
    async for stream in session.incoming_bidirectional_streams():
        asyncio.create_task(echo(stream, stream))


async def uni(session):
    async for stream in session.incoming_unidirectional_streams():
        asyncio.create_task(echo(stream, await session.create_unidirectional_stream()))


async def echo(source, target):
    async for chunk in source:
        await target.write_all(data=chunk)
    await target.write(data=b"", end_stream=True)


async def datagrams(session):
    try:
        while True:
            await session.send_datagram(data=await session.read_datagram())
    except SessionError:
        # It is over.
        pass


async def serve(connection):
    async for session in connection.incoming_sessions():
        await session.accept()
        for kind in (bidi, uni, datagrams):
            asyncio.create_task(kind(session))


def free_port():
    """It takes no port 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main(cert, key):
    port = free_port()
    config = ServerConfig(certfile=cert, keyfile=key)
    async with WebTransportServer(config=config) as server:
        await server.listen(host="127.0.0.1", port=port)
        print(port, flush=True)
        async for connection in server.incoming_connections():
            asyncio.create_task(serve(connection))


asyncio.run(main(*sys.argv[1:]))
