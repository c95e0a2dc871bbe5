"""A server on aioquic, which echoes; its first line is its port.

    aioquic_server.py CERT KEY

`/close` closes the session with 7 and "seven", `/forbidden` is refused with 403.
"""

import sys

from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration

from aioquic_session import (
    DatagramReceived,
    HeadersReceived,
    Protocol,
    WebTransportStreamDataReceived,
    asyncio,
)


class Server(Protocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.answers = {}

    def http_event(self, event):
        if isinstance(event, HeadersReceived):
            self.request(event)
        elif isinstance(event, DatagramReceived):
            self.http.send_datagram(event.stream_id, event.data)
            self.transmit()
        elif isinstance(event, WebTransportStreamDataReceived):
            self.echo(event)

    def request(self, event):
        headers = dict(event.headers)
        is_session = headers.get(b":protocol") == b"webtransport"
        path = headers.get(b":path")
        status = b"404" if not is_session else b"403" if path == b"/forbidden" else b"200"
        self.http.send_headers(
            event.stream_id,
            [(b":status", status), (b"sec-webtransport-http3-draft", b"draft02")],
            end_stream=status != b"200",
        )
        self.transmit()
        if path == b"/close":
            self.close_session(event.stream_id, 7, "seven")

    def echo(self, event):
        stream = event.stream_id
        if stream & 2:
            if stream not in self.answers:
                self.answers[stream] = self.open_uni(event.session_id)
            stream = self.answers[stream]
        self.send(stream, event.data, event.stream_ended)


async def main(cert, key):
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536
    )
    configuration.load_cert_chain(cert, key)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Server)
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
