"""WebTransport on aioquic: what its HTTP/3 layer leaves to the application.

aioquic knows streams and datagrams of draft-02. Capsules it hands over as the body of the CONNECT stream.
"""

import asyncio
import struct

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import (
    DataReceived,
    DatagramReceived,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic.events import StreamDataReceived, StreamReset

CLOSE_SESSION = 0x2843


def encode_close(code, reason):
    """A close capsule."""
    value = struct.pack("!I", code) + reason.encode()
    return encode_uint_var(CLOSE_SESSION) + encode_uint_var(len(value)) + value


def find_close(body):
    """The code and the reason of the close capsule in the body of a CONNECT stream, or None."""
    buffer = Buffer(data=body)
    while not buffer.eof():
        kind = buffer.pull_uint_var()
        value = buffer.pull_bytes(buffer.pull_uint_var())
        if kind == CLOSE_SESSION:
            return struct.unpack("!I", value[:4])[0], value[4:].decode()
    return None


class Protocol(QuicConnectionProtocol):
    """A connection with its HTTP/3 layer. Subclasses get `http_event` and `own_stream_data`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.own_streams = set()

    def open_bidi(self, session):
        """Opens a bidirectional stream, the header of which aioquic writes."""
        stream = self.http.create_webtransport_stream(session, is_unidirectional=False)
        self.own_streams.add(stream)
        return stream

    def open_uni(self, session):
        return self.http.create_webtransport_stream(session, is_unidirectional=True)

    def send(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    def close_session(self, session, code, reason):
        self.http.send_data(session, encode_close(code, reason), end_stream=True)
        self.transmit()

    def quic_event_received(self, event):
        # aioquic would take answers on our own bidirectional streams for frames.
        if isinstance(event, StreamDataReceived) and event.stream_id in self.own_streams:
            self.own_stream_data(event)
            return
        if isinstance(event, StreamReset):
            self.stream_reset(event)
        for http_event in self.http.handle_event(event):
            self.http_event(http_event)

    def http_event(self, event):
        raise NotImplementedError

    def own_stream_data(self, event):
        pass

    def stream_reset(self, event):
        pass


__all__ = [
    "DataReceived",
    "DatagramReceived",
    "HeadersReceived",
    "Protocol",
    "WebTransportStreamDataReceived",
    "asyncio",
    "encode_close",
    "find_close",
]
