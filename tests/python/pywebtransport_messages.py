"""What both ends of the tests with messages and RPC of PyWebTransport have."""

import asyncio
from dataclasses import dataclass

from pywebtransport import StructuredDatagramTransport, StructuredStream
from pywebtransport.serializer import JSONSerializer, MsgPackSerializer


@dataclass
class UserData:
    id: int
    name: str
    email: str


@dataclass
class StatusUpdate:
    status: str
    timestamp: float


REGISTRY = {1: UserData, 2: StatusUpdate}

MESSAGES = [
    UserData(id=1, name="test", email="é@x"),
    StatusUpdate(status="", timestamp=0.0),
    StatusUpdate(status="\U0001f600\n\"\\\x7f", timestamp=1e-07),
    UserData(id=4294967295, name="x" * 500, email=""),
    StatusUpdate(status="late", timestamp=1.7976931348623157e308),
]

SERIALIZERS = {"json": JSONSerializer, "msgpack": MsgPackSerializer}


def structured(serializer, stream):
    return StructuredStream(stream=stream, serializer=SERIALIZERS[serializer](), registry=REGISTRY)


async def structured_datagrams(serializer, session):
    return StructuredDatagramTransport(
        datagram_transport=await session.create_datagram_transport(),
        serializer=SERIALIZERS[serializer](),
        registry=REGISTRY,
    )


def register(manager):
    """The methods of the original's test server, and one that calls back."""
    logged = []

    async def call_back(number):
        return await manager.call("double", number) + 1

    async def slow_operation(seconds):
        await asyncio.sleep(seconds)
        return f"Completed after {seconds} seconds."

    for name, func in {
        "add": lambda a, b: a + b,
        "get_user": lambda user_id: {"id": user_id, "name": f"User {user_id}"},
        "log_message": logged.append,
        "logged": lambda: logged,
        "divide": lambda a, b: a / b,
        "slow_operation": slow_operation,
        "call_back": call_back,
    }.items():
        manager.register(func=func, name=name)
