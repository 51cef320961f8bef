"""Bodies of many items: JSON, JSON arrays or NDJSON, read so that one bad item spoils no other.

Numbers arrive as `Decimal`, digit by digit as they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Generic, NamedTuple, TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from services.ingest.api.shapes import RejectionOut
from services.ingest.model import Rejection
from shared.web import NAMED_TWICE, Refusal, Repeated, check_depth, members, pointer, read_body, repeated_member

T = TypeVar("T")

MOST_ITEMS = 5_000
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_NAN = Decimal("NaN")


class Unreadable(NamedTuple):
    """Stands where an item was, with why it is none."""

    code: str
    detail: str
    field: str | None = None


Pointer = Callable[[int, str | None], str]
"""From an item's index and the offending field to a JSON pointer into the body."""


@dataclass(frozen=True, slots=True)
class Documents:
    """The items of a body before anybody looked inside."""

    items: Sequence[object]
    pointer: Pointer

    def show(self, rejections: Sequence[Rejection]) -> list[RejectionOut]:
        ordered = sorted(rejections, key=lambda rejection: rejection.index)
        return [RejectionOut.of(found, self.pointer(found.index, found.field)) for found in ordered]


def in_list(index: int, field: str | None) -> str:
    return f"/{index}" if field is None else f"/{index}/{field}"


def alone(_: int, field: str | None) -> str:
    return "" if field is None else f"/{field}"


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


async def read_documents(request: Request, limit: int) -> Documents:
    """The items of a request of at most `limit` bytes; 400 only when nothing at all can be read."""
    return read_items(await read_body(request, limit), media_type(request))


def read_items(raw: bytes, kind: str) -> Documents:
    if kind in NDJSON:
        return Documents(read_lines(raw), in_list)
    if kind != "application/json":
        raise unsupported("application/json or application/x-ndjson")
    content = read_json(raw)
    if isinstance(content, list):
        return Documents(few(content), in_list)
    if isinstance(content, dict | Repeated):
        return Documents([content], alone)
    raise Refusal(400, "malformed-json", "the body is neither an object nor an array")


def unsupported(wanted: str) -> Refusal:
    return Refusal(415, "unsupported-media-type", f"the body may be {wanted}")


def few(items: Sequence[object]) -> Sequence[object]:
    if len(items) > MOST_ITEMS:
        raise Refusal(413, "too-many-items", f"a request may have at most {MOST_ITEMS} items")
    return items


def read_json(raw: bytes) -> object:
    check_depth(raw)
    try:
        return _loads(raw)
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refusal(400, "malformed-json", f"the body is not JSON{where}") from None


def read_lines(raw: bytes) -> list[object]:
    """One item per line that is not blank; a line that is no JSON is an item of its own that cannot be read."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    items = [_line(line) for line in few(lines)]
    if all(isinstance(item, Unreadable) and item.code == "malformed-json" for item in items):
        raise Refusal(400, "malformed-json", "no line of the body is JSON")
    return items


def _line(raw: object) -> object:
    line = raw if isinstance(raw, bytes) else b""
    try:
        check_depth(line)
        return _loads(line)
    except (ValueError, Refusal):
        return Unreadable("malformed-json", "the line is not JSON")


def _loads(raw: bytes) -> object:
    # Whole numbers too become Decimal: an int of a million digits takes minutes to make, a Decimal does not.
    # As text: of bytes the parser guesses the encoding, and what was checked before it was UTF-8.
    text = raw.decode("utf-8-sig")
    return json.loads(
        text, object_pairs_hook=members, parse_float=_number, parse_int=Decimal, parse_constant=lambda _: _NAN
    )


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond any computer's
        return _NAN


class Read(NamedTuple, Generic[T]):
    valid: list[tuple[int, T]]
    rejected: list[Rejection]


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """What an item must look like. The whole list is validated at once, and item by item only when that fails."""

    one: TypeAdapter[T]
    many: TypeAdapter[list[T]]

    def read(self, items: Sequence[object]) -> Read[T]:
        try:
            return Read(list(enumerate(self.many.validate_python(items))), [])
        except ValidationError:
            return self._read_singly(items)

    def _read_singly(self, items: Sequence[object]) -> Read[T]:
        read: Read[T] = Read([], [])
        for index, item in enumerate(items):
            if isinstance(item, Unreadable):
                read.rejected.append(Rejection(index, None, *item))
                continue
            try:
                read.valid.append((index, self.one.validate_python(item)))
            except ValidationError as error:
                read.rejected.append(_misshapen(index, item, error))
        return read


def one_or_many(shape: Shape[T]) -> dict[str, object]:
    """The content of a request body, for OpenAPI: what `read_items` reads."""
    item = shape.one.json_schema(ref_template="#/components/schemas/{model}")
    item.pop("$defs", None)
    many = {"type": "array", "maxItems": MOST_ITEMS, "items": item}
    return {
        "application/json": {"schema": {"anyOf": [item, many]}},
        "application/x-ndjson": {"schema": {"type": "string"}},
    }


_CODES = {
    "missing": "missing",
    "finite_number": "not-finite",
}


def _misshapen(index: int, item: object, error: ValidationError) -> Rejection:
    if twice := repeated_member(item):
        return Rejection(index, None, "duplicate-key", NAMED_TWICE, twice[1:])
    if not isinstance(item, dict):
        return Rejection(index, None, "not-an-object", "an item is a JSON object")
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = pointer(first["loc"])[1:]
    code = _CODES.get(first["type"], "invalid")
    return Rejection(index, _id_of(item), code, first["msg"].removeprefix("Value error, "), field or None)


def _id_of(item: dict[str, object]) -> str | None:
    """What the sender calls the item, as far as it can be repeated in an answer."""
    found = item.get("id")
    return found if isinstance(found, str) and len(found) <= 128 and found.isprintable() else None
