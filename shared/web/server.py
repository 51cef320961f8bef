"""The server under the application. Nobody holds a connection by saying nothing on it, by never finishing a request, or
by never reading the answer; and nobody fills the memory with what is neither head nor body of a reasonable size.

uvicorn stops its clock at the first byte of a request. Here only a whole head stops it; the body's time is the edge's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.settings import ServiceSettings

MOST_HEAD_BYTES = 64 << 10
_MOST_BYTES_BESIDE_BODY = 1 << 20
"""Of the framing of its chunks and what follows them."""


class _Protocol(HttpToolsProtocol):
    _clock: asyncio.TimerHandle
    _in_head = True
    _beside_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it: what is not taken in this time ends the connection
            patience = self.timeout_keep_alive * 1_000
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clock.cancel()

    def data_received(self, data: bytes) -> None:
        self._beside_body += len(data)
        super().data_received(data)
        # The parser keeps a head until it is whole, however large it grows.
        if self._beside_body > (MOST_HEAD_BYTES if self._in_head else _MOST_BYTES_BESIDE_BODY):
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._beside_body = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows the chunks of a body means nothing here
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._clock.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # and not that of a request behind which others already wait
            self._await_head()

    def _await_head(self) -> None:
        self._clock = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the group of parts: uvicorn's own handlers would end HTTP and leave the rest running.
        yield


async def serve_http(app: FastAPI, settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`, then answer what is being worked on within `drain_seconds`."""
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        http=_Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.http_read_seconds,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        server_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
