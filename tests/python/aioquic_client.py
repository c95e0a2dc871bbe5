"""A client on aioquic, which has a server echo.

    aioquic_client.py PORT echo      one session: streams of all sizes, datagrams, then close with 9 and "nine"
    aioquic_client.py PORT close     a session at /close, which the server has to close with 7 and "seven"
    aioquic_client.py PORT many      50 connections in a row, each with a session that echoes once
"""

import ssl
import sys

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

from aioquic_session import (
    DataReceived,
    DatagramReceived,
    HeadersReceived,
    Protocol,
    WebTransportStreamDataReceived,
    asyncio,
    find_close,
)

PATIENCE = 20


class Client(Protocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        loop = asyncio.get_running_loop()
        self.answer = loop.create_future()
        self.connect_ended = loop.create_future()
        self.connect_body = b""
        self.streams = {}
        self.finished = {}
        self.uni_finished = asyncio.Queue()
        self.datagrams = asyncio.Queue()

    async def open(self, authority, path):
        session = self._quic.get_next_available_stream_id()
        self.http.send_headers(
            session,
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":authority", authority.encode()),
                (b":path", path.encode()),
                (b":protocol", b"webtransport"),
                (b"sec-webtransport-http3-draft02", b"1"),
            ],
        )
        self.transmit()
        headers = await self.answer
        assert headers[b":status"] == b"200", headers
        return session

    def http_event(self, event):
        if isinstance(event, HeadersReceived):
            self.answer.set_result(dict(event.headers))
        elif isinstance(event, DataReceived):
            self.connect_body += event.data
            if event.stream_ended:
                self.connect_ended.set_result(None)
        elif isinstance(event, DatagramReceived):
            self.datagrams.put_nowait(event.data)
        elif isinstance(event, WebTransportStreamDataReceived):
            data = self.streams.setdefault(event.stream_id, bytearray())
            data += event.data
            if event.stream_ended:
                self.uni_finished.put_nowait(bytes(data))

    def own_stream_data(self, event):
        data = self.streams.setdefault(event.stream_id, bytearray())
        data += event.data
        if event.end_stream:
            self.finished[event.stream_id].set_result(bytes(data))

    async def bidi(self, session, sent):
        stream = self.open_bidi(session)
        finished = asyncio.get_running_loop().create_future()
        self.finished[stream] = finished
        self.send(stream, sent, end=True)
        return await finished


def payload(size):
    return bytes((i * 31 + (i >> 8)) & 0xFF for i in range(size))


async def echo(client, authority):
    session = await client.open(authority, "/")
    for size in (1, 1000, 65536, 1 << 20):
        assert await client.bidi(session, payload(size)) == payload(size), size
    for size in (1, 100_000):
        client.send(client.open_uni(session), payload(size), end=True)
        assert await client.uni_finished.get() == payload(size), size
    for size in (1, 1000):
        client.http.send_datagram(session, payload(size))
        client.transmit()
        assert await client.datagrams.get() == payload(size), size
    client.close_session(session, 9, "nine")
    # The server ends its side in answer.
    await client.connect_ended


async def close(client, authority):
    await client.open(authority, "/close")
    await client.connect_ended
    assert find_close(client.connect_body) == (7, "seven"), client.connect_body


async def once(client, authority):
    session = await client.open(authority, "/")
    assert await client.bidi(session, b"hello") == b"hello"
    client.close_session(session, 0, "")
    await client.connect_ended


async def main(port, what):
    act, count = {"echo": (echo, 1), "close": (close, 1), "many": (once, 50)}[what]
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        max_datagram_frame_size=65536,
        verify_mode=ssl.CERT_NONE,
    )
    for _ in range(count):
        async with connect(
            "127.0.0.1", port, configuration=configuration, create_protocol=Client
        ) as client:
            await asyncio.wait_for(act(client, f"127.0.0.1:{port}"), PATIENCE)


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
print("passed")
