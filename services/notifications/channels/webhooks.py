"""Messages on their way to addresses that customers chose: only to public ones, resolved once, never redirected."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import httpx

from services.notifications.model import EndpointId, Message, Outcome, Verdict
from services.notifications.rules.addresses import is_public, url_objection
from services.notifications.rules.retries import ROUND, parse_retry_after
from services.notifications.rules.webhooks import body_of, headers_of
from shared.clock import Clock

CONCURRENCY = 8
TOTAL_SECONDS = 10.0
"""For one attempt from resolving the name to the end of what is read of the answer."""
_READ_BYTES = 16 << 10
_GONE = 410

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(Exception):
    """The name leads to an address that webhooks must not reach."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`, in the order in which they should be tried."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedTransport(httpx.AsyncBaseTransport):
    """Resolves a name, refuses it when any of its addresses is not public, and connects to the addresses it checked.

    A connection is never used for a second request. Connections are kept by address: another host behind the same
    address would be talked to under a certificate that was checked for the first one. It also means that every
    request, a redirected one included, is resolved and checked anew.
    """

    def __init__(
        self, *, allow_private: bool, resolve: Resolve = resolve, verify: ssl.SSLContext | None = None
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpx.AsyncHTTPTransport(
            verify=verify or ssl.create_default_context(),
            trust_env=False,
            limits=httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=0),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        addresses = await self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        if not addresses:
            raise httpx.ConnectError("the name has no address")
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise AddressRefused
        for address in addresses[:-1]:
            try:
                return await self._to(address, request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing was sent yet: the next address may be tried
        return await self._to(addresses[-1], request)

    async def _to(self, address: str, request: httpx.Request) -> httpx.Response:
        pinned = httpx.Request(
            method=request.method,
            url=request.url.copy_with(host=address),
            headers=request.headers,  # Host among them, which names what was asked for
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        await self._inner.aclose()


class WebhookSender:
    def __init__(self, transport: PinnedTransport, clock: Clock, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=TOTAL_SECONDS,
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "Plumbline-Webhooks/1", "accept": "*/*", "connection": "close"},
        )

    async def send(self, messages: Sequence[Message]) -> list[Outcome]:
        """Attempt each, until the round's time is over; an endpoint that is silent is not asked again in it."""
        silent: set[EndpointId] = set()
        deadline = asyncio.get_running_loop().time() + ROUND.total_seconds()
        return list(await asyncio.gather(*(self._send(message, silent, deadline) for message in messages)))

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, message: Message, silent: set[EndpointId], deadline: float) -> Outcome:
        async with self._slots:
            if message.endpoint in silent or asyncio.get_running_loop().time() >= deadline:
                return Outcome(message.claim, Verdict.NOT_TRIED, endpoint=message.endpoint)
            try:
                async with asyncio.timeout(TOTAL_SECONDS):
                    return await self._attempt(message)
            except (AddressRefused, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
                silent.add(message.endpoint)
                return Outcome(message.claim, Verdict.RETRY, _code_of(error), endpoint=message.endpoint, silent=True)

    async def _attempt(self, message: Message) -> Outcome:
        if url_objection(message.url, allow_private=self._allow_private):
            raise AddressRefused
        body, now = body_of(message), self._clock()
        async with self._http.stream(
            "POST", message.url, content=body, headers=headers_of(message, now, body)
        ) as answer:
            await _read_some(answer)
        if answer.is_success:
            return Outcome(message.claim, Verdict.DELIVERED, endpoint=message.endpoint)
        gone = answer.status_code == _GONE
        return Outcome(
            message.claim,
            Verdict.NEVER if gone else Verdict.RETRY,
            f"http-{answer.status_code}",
            parse_retry_after(answer.headers.get("retry-after"), now),
            message.endpoint,
            gone=gone,
        )


async def _read_some(answer: httpx.Response) -> None:
    """Let a well-behaved receiver finish its sentence; nothing of it is kept."""
    seen = 0
    async for chunk in answer.aiter_raw():
        seen += len(chunk)
        if seen > _READ_BYTES:
            return


def _code_of(error: Exception) -> str:
    if isinstance(error, AddressRefused):
        return "address-refused"
    if isinstance(error, socket.gaierror):
        return "name-not-resolved"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "timeout"
    if _caused_by_tls(error):
        return "tls-failed"
    return "connection-failed" if isinstance(error, httpx.TransportError | OSError) else "request-failed"


def _caused_by_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
