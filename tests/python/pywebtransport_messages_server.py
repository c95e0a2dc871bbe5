"""PyWebTransport's server of messages and RPC; its first line is its port.

    pywebtransport_messages_server.py CERT KEY

At /structured/json and /structured/msgpack it echoes messages, at /rpc it has methods.
"""

import asyncio
import socket
import sys

from pywebtransport import ServerApp, ServerConfig
from pywebtransport.rpc import RpcManager
from pywebtransport_messages import SERIALIZERS, register, structured, structured_datagrams


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


def echo(serializer):
    async def echo_datagrams(session):
        datagrams = await structured_datagrams(serializer, session)
        while True:
            await datagrams.send_obj(obj=await datagrams.receive_obj())

    async def handle(session):
        task = asyncio.create_task(echo_datagrams(session))
        try:
            async for stream in session.incoming_streams():
                messages = structured(serializer, stream)
                async for message in messages:
                    await messages.send_obj(obj=message)
                await messages.close()
        finally:
            task.cancel()

    return handle


async def rpc(session):
    async for stream in session.incoming_streams():
        async with RpcManager(stream=stream, session_id=session.session_id) as manager:
            register(manager)
            await session.wait_closed()
        return


async def main(cert, key):
    app = ServerApp(config=config(cert, key))
    for serializer in SERIALIZERS:
        app.route(path=f"/structured/{serializer}")(echo(serializer))
    app.route(path="/rpc")(rpc)
    async with app:
        await app.server.listen(host="127.0.0.1", port=free_port())
        print(app.server.local_address[1], flush=True)
        await app.server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
