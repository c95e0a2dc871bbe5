"""PyWebTransport's client of messages and RPC.

    pywebtransport_messages_client.py PORT structured   has messages echoed, in streams and datagrams
    pywebtransport_messages_client.py PORT rpc          calls, and is called back
"""

import asyncio
import ssl
import sys

from pywebtransport import ClientConfig, WebTransportClient
from pywebtransport.rpc import RpcError, RpcManager, RpcTimeoutError
from pywebtransport_messages import MESSAGES, SERIALIZERS, register, structured, structured_datagrams

PATIENCE = 20


def config():
    return ClientConfig(
        verify_mode=ssl.CERT_NONE,
        initial_max_data=2 << 20,
        initial_max_streams_bidi=100,
        initial_max_streams_uni=100,
    )


async def echo(session, serializer):
    stream = structured(serializer, await session.create_bidirectional_stream())
    for message in MESSAGES:
        await stream.send_obj(obj=message)
        assert await stream.receive_obj() == message, message
    for message in MESSAGES:
        await stream.send_obj(obj=message)
    await stream.close()
    assert [message async for message in stream] == MESSAGES

    datagrams = await structured_datagrams(serializer, session)
    for message in MESSAGES:
        await datagrams.send_obj(obj=message)
        assert await datagrams.receive_obj(timeout=PATIENCE) == message, message


async def fails(call, code, words):
    try:
        raise AssertionError(f"{await call}, though it had to fail")
    except RpcError as error:
        assert error.error_code == code and words in str(error), error


async def rpc(session):
    stream = await session.create_bidirectional_stream()
    async with RpcManager(stream=stream, session_id=session.session_id) as manager:
        register(manager)
        manager.register(func=lambda number: number * 2, name="double")
        assert await manager.call("add", 1, 2) == 3
        assert await manager.call("get_user", 7) == {"id": 7, "name": "User 7"}
        assert await manager.call("echo", ["é\U0001f600", 1.5, None, {"a": [True]}]) == [
            "é\U0001f600",
            1.5,
            None,
            {"a": [True]},
        ]
        sums = await asyncio.gather(*(manager.call("add", n, n) for n in range(50)))
        assert sums == [2 * n for n in range(50)]
        await fails(manager.call("nope"), -32601, "Method 'nope' not found.")
        await fails(manager.call("add", 1), -32602, "Invalid parameters")
        await fails(manager.call("divide", 1, 0), -32603, "Error executing 'divide': ")
        await fails(manager.call("custom"), 7, "no more")
        try:
            await manager.call("slow_operation", 30, timeout=0.1)
            raise AssertionError("in time")
        except RpcTimeoutError:
            pass
        # The other way, while a call of ours waits.
        assert await manager.call("call_back", 20) == 41
        assert await manager.call("add_at_yours", 3, 4) == 7


async def main(port, what):
    async with WebTransportClient(config=config()) as client:
        for path in [f"structured/{name}" for name in SERIALIZERS] if what == "structured" else ["rpc"]:
            session = await client.connect(url=f"https://127.0.0.1:{port}/{path}")
            act = rpc(session) if what == "rpc" else echo(session, path.removeprefix("structured/"))
            await asyncio.wait_for(act, PATIENCE)
            await session.close(code=9, reason="nine")


asyncio.run(main(*sys.argv[1:]))
print("passed")
