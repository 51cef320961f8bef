"""JSON of a sane shape: not too deep, exact numbers, and nothing that two readers could take for different things."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Never

from shared.field_problems import FieldProblem
from shared.web.problems import Refusal, pointer

MAX_DEPTH = 32
NAMED_TWICE = "a member is named twice"
_MAX_EXPONENT = 64

_OPENING, _CLOSING = b"(", b")"
_BRACKETS = bytes.maketrans(b"[{]}", _OPENING * 2 + _CLOSING * 2)
_NO_BRACKET = bytes(set(range(256)) - set(b"[{]}"))
_NO_MARK = bytes(set(range(256)) - set(b'[{]}"'))


def check_depth(raw: bytes) -> None:
    """Refuse JSON nested deeper than `MAX_DEPTH`, or with brackets that do not match, before a parser recurses."""
    left = _outside_texts(raw).translate(_BRACKETS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        if not left:
            return
        left = left.replace(_OPENING + _CLOSING, b"")  # each pass takes away the innermost level
    if left:
        raise Refusal(400, "malformed-json", f"JSON may be nested {MAX_DEPTH} deep, and its brackets must match")


def _outside_texts(raw: bytes) -> bytes:
    if b"\\" not in raw:
        # Between two brackets stands an even number of quotes unless a text contains one: nearly no body's do.
        marks = raw.translate(None, _NO_MARK).replace(b'""', b"")
        if b'"' not in marks:
            return marks
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(unescaped.split(b'"')[::2])


@dataclass(frozen=True, slots=True)
class Repeated:
    """Stands where an object was that names `member` twice. What no text can hold of the name is escaped."""

    member: str


def members(pairs: list[tuple[str, object]]) -> dict[str, object] | Repeated:
    """The `object_pairs_hook` of every parser of ours."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    ((member, _),) = Counter(name for name, _ in pairs).most_common(1)
    return Repeated(member.encode(errors="backslashreplace").decode())


def repeated_member(content: object) -> str | None:
    """The JSON pointer to a member that is named twice, in what a parser with `members` made."""
    if isinstance(content, Repeated):
        return pointer([content.member])
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inside:
        if isinstance(value, dict | list | Repeated) and (found := repeated_member(value)):
            return pointer([name]) + found
    return None


def _refuse_constant(name: str) -> Never:
    raise Refusal(400, "malformed-json", f"{name} is not a JSON number")


def _number(text: str) -> Decimal:
    value = Decimal(text)
    # A few characters of exponent could otherwise cost gigabytes once somebody makes an integer of them.
    if value and abs(value.adjusted()) > _MAX_EXPONENT:
        raise Refusal(400, "malformed-json", "a number is too large or too small")
    return value


def read_json(raw: bytes) -> object:
    """What `raw` says, fractions as `Decimal`; a `Refusal` unless all of it can be read in one way only."""
    check_depth(raw)
    if rb"\u0000" in raw.replace(rb"\\", b""):
        raise Refusal(400, "nul-character", "no text here can hold the character NUL")
    try:
        # As text: of bytes the parser guesses the encoding, and what was checked before it was UTF-8.
        text = raw.decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=members, parse_float=_number, parse_constant=_refuse_constant)
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refusal(400, "malformed-json", f"the body is not JSON{where}") from None
    if twice := repeated_member(content):
        raise Refusal(400, "duplicate-key", NAMED_TWICE, [FieldProblem(twice, "duplicate-key", NAMED_TWICE)])
    return content
