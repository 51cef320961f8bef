"""Request bodies: bounded while they are read and while they are inflated, UTF-8, and what their models are made of."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Protocol

import zstandard
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from starlette.types import Message, Receive, Scope

from shared.field_problems import FieldProblem
from shared.numbers import plain
from shared.web.json import read_json
from shared.web.problems import Refusal

DEFAULT_LIMIT = 1 << 20
_LIMIT = "plumbline.body_limit"


def too_large(limit: int) -> Refusal:
    return Refusal(413, "body-too-large", f"the body may have at most {limit} bytes")


def limited(scope: Scope, receive: Receive, seconds: float) -> Receive:
    """`receive` that refuses to hand out more than the limit of the route, `DEFAULT_LIMIT` unless it named another, and
    to wait longer than `seconds` for all of it."""
    taken = 0
    deadline: float | None = asyncio.get_running_loop().time() + seconds

    async def counted() -> Message:
        nonlocal taken, deadline
        limit: int = scope.get(_LIMIT, DEFAULT_LIMIT)
        if not taken and _declared(scope) > limit:
            raise too_large(limit)
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            # What is still to come of it must not be taken for the next request.
            closing = {"Connection": "close"}
            raise Refusal(408, "body-too-slow", f"the body did not arrive in {seconds} seconds", (), closing) from None
        if not message.get("more_body"):
            deadline = None  # what is awaited from here on is that the caller hangs up
        taken += len(message.get("body", b""))
        if taken > limit:
            raise too_large(limit)
        return message

    return counted


def _declared(scope: Scope) -> int:
    lengths = [int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
    return max(lengths, default=0)


async def read_body(request: Request, limit: int) -> bytes:
    """The body as UTF-8 text of at most `limit` bytes, both as it was sent and after inflation of gzip or zstd."""
    request.scope[_LIMIT] = limit
    name = request.headers.get("content-encoding", "").strip().lower()
    if name not in _ENCODINGS:
        raise Refusal(
            415,
            "unsupported-encoding",
            "a body may be sent as it is, gzip or zstd",
            [FieldProblem("Content-Encoding", "unsupported", "not one of identity, gzip, zstd")],
            {"Accept-Encoding": "gzip, zstd"},
        )
    body = await request.body()
    encoding = _ENCODINGS[name]
    if encoding is not None:
        body = _inflate(body, limit, encoding)
    _require_utf8(body)
    return body


def _require_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "not-utf8", f"byte {error.start} of the body is not UTF-8") from None


# Each costs an inflater: a body of empty pieces would keep the process from everybody else for seconds.
_MOST_PIECES = 1_000


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _inflate(raw: bytes, limit: int, encoding: _Encoding) -> bytes:
    out = bytearray()
    inflater, pieces = encoding.inflater(), 1
    for start in range(0, len(raw), encoding.step):
        rest = raw[start : start + encoding.step]
        while rest:
            if inflater.eof:  # both formats allow several compressed pieces, one after the other
                inflater, pieces = encoding.inflater(), pieces + 1
            if pieces > _MOST_PIECES:
                raise _broken(encoding)
            try:
                out += inflater.decompress(rest)
            except encoding.error:
                raise _broken(encoding) from None
            if len(out) > limit:
                raise too_large(limit)
            rest = inflater.unused_data
    if not inflater.eof:
        raise _broken(encoding)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Encoding:
    """`step` bytes at once must never inflate to more than some MiB: what comes out is measured only afterwards."""

    name: str
    step: int
    error: type[Exception]
    inflater: Callable[[], _Inflater]


_GZIP = _Encoding("gzip", 8 << 10, zlib.error, lambda: zlib.decompressobj(wbits=31))
# A zstd block of four bytes can stand for 128 KiB; the window is memory the sender would make us allocate.
_ZSTD = _Encoding(
    "zstd", 256, zstandard.ZstdError, lambda: zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()
)
_ENCODINGS: dict[str, _Encoding | None] = {"identity": None, "": None, "gzip": _GZIP, "x-gzip": _GZIP, "zstd": _ZSTD}


def _broken(encoding: _Encoding) -> Refusal:
    found = FieldProblem("Content-Encoding", "broken", f"the body is not complete and valid {encoding.name}")
    return Refusal(400, "broken-encoding", f"the body cannot be read as {encoding.name}", [found])


class Body(BaseModel):
    """A body of ours: a member nobody knows is a typing error, not a wish. A route reads `most_bytes` of it."""

    most_bytes: ClassVar[int] = DEFAULT_LIMIT
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_no_number(cls, value: object) -> object:
        # FastAPI reads attributes where it finds no members, and a Decimal has some: it would count as {}.
        if isinstance(value, Decimal):
            raise ValueError("an object is expected")
        return value


# 0e-20000, and 1 with as many decimals of zero, are short numbers to every limit of digits, and no column holds them.
WithoutIdleZeros = AfterValidator(lambda value: Decimal(plain(value)))
"""What every `Decimal` of a body is annotated with."""


Written = Annotated[Decimal, PlainSerializer(plain, return_type=str)]
"""A number of an answer. The database hands out 100000 as 1.0E+5, which few readers of JSON texts expect."""


def _spelled(value: object) -> object:
    """Pydantic would also take a number for a time, as seconds since 1970."""
    if isinstance(value, date) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("a day is written as YYYY-MM-DD, a time as YYYY-MM-DDThh:mm:ss with its offset")


def _only_a_day(value: object) -> object:
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("a day is written as YYYY-MM-DD")
    return value


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Far from the calendar's ends, where the day before or after, or another zone's, does not exist.
_FIRST, _LAST = date(1900, 1, 1), date(2999, 12, 31)
Day = Annotated[date, Field(ge=_FIRST, le=_LAST), BeforeValidator(_only_a_day), BeforeValidator(_spelled)]
"""A day of a body. An open end is null, not the last day there is."""
Time = Annotated[
    AwareDatetime,
    Field(ge=datetime(1900, 1, 1, tzinfo=UTC), le=datetime(2999, 12, 31, tzinfo=UTC)),
    BeforeValidator(_spelled),
]


class _StrictRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - the signature is Starlette's
        return read_json(await read_body(self, self.scope[_LIMIT]))


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        body = self.body_field and self.body_field.field_info.annotation
        limit = getattr(body, "most_bytes", DEFAULT_LIMIT)

        async def strictly(request: Request) -> Response:
            request.scope[_LIMIT] = limit
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


class Router(APIRouter):
    """The only router `create_app` takes, under /v1: no NaN, no deep nesting, no digit of a number lost to a float."""

    def __init__(self, *, prefix: str = "", tags: list[str] | None = None) -> None:
        super().__init__(prefix=f"/v1{prefix}", tags=list(tags or ()), route_class=_StrictRoute)
