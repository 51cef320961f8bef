"""A connection is held by whoever asks something on it, and by nobody else. Over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import monotonic

import httpx
import pytest

from shared.auth import TokenVerifier
from shared.database import Database
from shared.web.server import serve_http
from tests.local.conftest import free_port
from tests.shared.web_app import build, settings

Bearer = Callable[..., dict[str, str]]
READ_SECONDS = 1


@pytest.fixture
async def port(machinery: Database, verifier: TokenVerifier) -> AsyncIterator[int]:
    """Where the notes are served, with a second for a head and a second for a body."""
    found = free_port()
    app = build(machinery, verifier, http_read_seconds=READ_SECONDS)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_http(app, settings(http_port=found, http_read_seconds=READ_SECONDS), stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{found}") as client:
        while True:
            with suppress(httpx.ConnectError):
                await client.get("/livez")
                break
            await asyncio.sleep(0.02)
    yield found
    stop.set()
    await serving


def head(bearer: Bearer, length: int) -> bytes:
    lines = [
        "POST /v1/notes HTTP/1.1",
        "Host: notes",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in bearer("hr_admin").items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """A byte every tenth of a second: never silent for long, and never done."""
    with suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(READ_SECONDS / 10)


async def sent_slowly(port: int, at_once: bytes, slowly: bytes) -> tuple[bytes, float]:
    """What is answered until the connection is closed, and after how many seconds that is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = monotonic()
    writer.write(at_once)
    dripping = asyncio.create_task(drip(writer, slowly))
    try:
        async with asyncio.timeout(5 * READ_SECONDS):
            return await reader.read(), monotonic() - began
    except ConnectionError:
        return b"", monotonic() - began
    finally:
        dripping.cancel()
        writer.close()


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [(b"", b""), (b"GET /v1/notes HTTP/1.1\r\nHost: no", b""), (b"", b"GET /v1/notes HTTP/1.1\r\n" + b"X: y\r\n" * 20)],
    ids=["nothing", "half a head", "a head without end"],
)
async def test_a_head_that_is_never_finished_ends_the_connection(port: int, at_once: bytes, slowly: bytes) -> None:
    answer, seconds = await sent_slowly(port, at_once, slowly)
    assert answer == b""
    assert READ_SECONDS * 0.9 < seconds < READ_SECONDS * 3


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [(b"", b""), (b'{"text', b""), (b"", b'{"text": "' + b"x" * 80)],
    ids=["nothing", "half a body", "a body without end"],
)
async def test_a_body_that_never_comes_is_told_and_ends_the_connection(
    port: int, bearer: Bearer, at_once: bytes, slowly: bytes
) -> None:
    answer, seconds = await sent_slowly(port, head(bearer, 90) + at_once, slowly)
    said, _, problem = answer.partition(b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in said.lower()
    assert b"urn:plumbline:problem:body-too-slow" in problem
    assert READ_SECONDS * 0.9 < seconds < READ_SECONDS * 3


async def test_the_rest_of_a_body_nobody_wanted_holds_no_connection(port: int) -> None:
    unknown = b"POST /v1/nothing HTTP/1.1\r\nHost: notes\r\nContent-Length: 90\r\n\r\n"
    answer, seconds = await sent_slowly(port, unknown, b"x" * 80)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert seconds < READ_SECONDS * 3


async def test_requests_that_follow_each_other_keep_their_connection(port: int, bearer: Bearer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(4):
        await asyncio.sleep(READ_SECONDS / 2)
        writer.write(head(bearer, 15) + b'{"text": "yes"}')
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
        await reader.readuntil(b"}")
    for _ in range(2):
        writer.write((head(bearer, 15) + b'{"text": "yes"}') * 3)
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
            await reader.readuntil(b"}")
    assert await reader.read() == b""
    writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel cannot tell who never reads")
async def test_an_answer_that_is_never_read_ends_the_connection(port: int) -> None:
    large = b"GET /openapi.json HTTP/1.1\r\nHost: notes\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, large * 500)
        await asyncio.sleep(4 * READ_SECONDS)
        with pytest.raises(ConnectionError):
            while await loop.sock_recv(client, 1 << 20):
                pass


@pytest.mark.parametrize("line", [b"a:b\r\n", b"x" * 65_536], ids=["many headers", "one header"])
async def test_a_head_that_grows_and_grows_is_refused(port: int, line: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: notes\r\na:")
    with suppress(ConnectionError):
        for _ in range((8 << 20) // len(line)):
            writer.write(line)
            await writer.drain()
    with suppress(ConnectionError):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    with pytest.raises(ConnectionError):
        for _ in range(20):
            writer.write(line)
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_what_follows_the_chunks_of_a_body_is_left_out_and_bounded(port: int, bearer: Bearer) -> None:
    start = head(bearer, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    body = b'f\r\n{"text": "yes"}\r\n0\r\n'
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start + body + b"Content-Encoding: zstd\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    await reader.readuntil(b"}")
    writer.write(start + body + b"a:")
    with pytest.raises(ConnectionError):
        for _ in range(100):
            writer.write(b"x" * 65_536)
            await writer.drain()
            await asyncio.sleep(0.01)
