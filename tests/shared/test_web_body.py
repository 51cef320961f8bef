"""What a request may carry, and what is refused before anybody looks at it."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping

import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.web import Refusal, check_depth

Bearer = Callable[..., dict[str, str]]


def kind(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:plumbline:problem:")


async def post_raw(notes: httpx.AsyncClient, headers: Mapping[str, str], body: bytes, encoding: str) -> httpx.Response:
    return await notes.post("/v1/notes/raw", content=body, headers={**headers, "Content-Encoding": encoding})


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", b"[1, 2]"),
        ("gzip", gzip.compress(b"[1, 2]")),
        ("GZIP", gzip.compress(b"[1,") + gzip.compress(b" 2]")),
        ("zstd", zstd(b"[1, 2]")),
        ("zstd", zstd(b"[1,") + zstd(b" 2]")),
    ],
    ids=["plain", "gzip", "two gzip members", "zstd", "two zstd frames"],
)
async def test_compressed_bodies_arrive_as_what_they_say(
    notes: httpx.AsyncClient, bearer: Bearer, encoding: str, body: bytes
) -> None:
    answer = await post_raw(notes, bearer("hr_admin"), body, encoding)
    assert (answer.status_code, answer.json()) == (200, 6)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_bomb_is_refused_before_it_is_in_memory(
    notes: httpx.AsyncClient, bearer: Bearer, encoding: str
) -> None:
    plain = bytes(300 << 20)
    bomb = gzip.compress(plain, 9) if encoding == "gzip" else zstd(plain)
    del plain
    headers = bearer("hr_admin")
    tracemalloc.start()
    answer = await notes.post(
        f"/v1/notes/raw?limit={1 << 20}", content=bomb, headers={**headers, "Content-Encoding": encoding}
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kind(answer) == (413, "body-too-large")
    assert peak < 40 << 20


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"[1, 2]")[:-3]),
        ("gzip", gzip.compress(b"[1, 2]") + b"rest"),
        ("gzip", zlib.compress(b"[1, 2]")),
        ("gzip", b""),
        ("zstd", b"not zstd"),
        ("zstd", zstd(b"[1, 2]" * 50)[:-3]),
        ("zstd", zstd(b"[1, 2]") + b"rest"),
    ],
    ids=["no gzip", "cut gzip", "more than gzip", "deflate", "empty", "no zstd", "cut zstd", "more than zstd"],
)
async def test_a_broken_encoding_names_its_header(
    notes: httpx.AsyncClient, bearer: Bearer, encoding: str, body: bytes
) -> None:
    answer = await post_raw(notes, bearer("hr_admin"), body, encoding)
    assert kind(answer) == (400, "broken-encoding")
    assert answer.json()["errors"][0]["pointer"] == "Content-Encoding"


async def test_another_encoding_is_not_supported(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    answer = await post_raw(notes, bearer("hr_admin"), b"x", "br")
    assert kind(answer) == (415, "unsupported-encoding")
    assert answer.headers["accept-encoding"] == "gzip, zstd"


async def test_a_body_is_cut_off_while_it_is_read_whatever_it_declared(
    notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    sent = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield bytes(64 << 10)

    answer = await notes.post("/v1/notes/raw", content=long(), headers=bearer("hr_admin"))
    assert kind(answer) == (413, "body-too-large")
    json_answer = await notes.post(
        "/v1/notes", content=long(), headers={**bearer("hr_admin"), "Content-Type": "application/json"}
    )
    assert kind(json_answer) == (413, "body-too-large")
    assert sent < 25


async def test_a_declared_length_is_refused_before_a_byte_is_read(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {**bearer("hr_admin"), "Content-Type": "application/json", "Content-Length": str(2 << 20)}
    for path in ("/v1/notes", "/v1/notes/raw"):
        assert kind(await notes.post(path, content=nothing(), headers=headers)) == (413, "body-too-large")


async def test_a_route_takes_what_it_names_and_others_a_mebibyte(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    body = b"[" + b" " * (2 << 20) + b"]"
    raw = await notes.post(f"/v1/notes/raw?limit={4 << 20}", content=body, headers=bearer("hr_admin"))
    assert raw.status_code == 200
    other = await notes.post(
        "/v1/notes", content=body, headers={**bearer("hr_admin"), "Content-Type": "application/json"}
    )
    assert kind(other) == (413, "body-too-large")


async def test_json_bodies_of_ordinary_routes_may_be_compressed(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = {**bearer("hr_admin"), "Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await notes.post("/v1/notes", content=gzip.compress(b'{"text": "hello"}'), headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "a", "weight": NaN}',
        b'{"text": "a", "weight": -Infinity}',
        b'{"text": "a", "weight": 1e999999999}',
        b'{"text": "a", "weight": 1' + b"0" * 5000 + b"}",
        b'{"text": "a"',
        b'{"text": "a"}}',
        b'{"text": "\xff"}',
        '{"text": "a"}'.encode("utf-16-le"),
        '{"text": "a"}'.encode("utf-32-be"),
        ('{"text": "\u2200", "lines": ' + "[" * 5_000 + "]" * 5_000 + ', "x": "\u2200"}').encode("utf-16-le"),
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=[
        "nan",
        "infinity",
        "exponent",
        "digits",
        "cut",
        "unbalanced",
        "not utf-8",
        "utf-16",
        "utf-32",
        "deep utf-16",
        "deep",
    ],
)
async def test_json_that_no_number_or_parser_can_hold_is_a_bad_request(
    notes: httpx.AsyncClient, bearer: Bearer, body: bytes
) -> None:
    headers = {**bearer("hr_admin"), "Content-Type": "application/json"}
    answer = await notes.post("/v1/notes", content=body, headers=headers)
    assert kind(answer)[0] == 400


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"text": "a", "text": "b"}', "/text"),
        (b'{"text": "a", "text": "a"}', "/text"),
        (b'{"text": "a", "lines": [1, {"a/b": 1, "a/b": 2}]}', "/lines/1/a~1b"),
        (b'{"text": "a", "lines": {"x": {"y": 1, "z": [], "y": 2}}}', "/lines/x/y"),
        (rb'{"text": "a", "lines": {"\ud800": 1, "\ud800": 2}}', r"/lines/\ud800"),
    ],
    ids=["the body's own", "the same twice", "in a list", "deep", "a lone surrogate"],
)
async def test_a_member_that_is_named_twice_is_pointed_at(
    notes: httpx.AsyncClient, bearer: Bearer, body: bytes, pointer: str
) -> None:
    headers = {**bearer("hr_admin"), "Content-Type": "application/json"}
    answer = await notes.post("/v1/notes", content=body, headers=headers)
    assert kind(answer) == (400, "duplicate-key")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_hundred_thousand_members_and_one_twice_are_told_at_once(
    notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    names = ",".join(f'"{n:x}":1' for n in range(90_000))
    headers = {**bearer("hr_admin"), "Content-Type": "application/json"}
    async with asyncio.timeout(10):
        answer = await notes.post("/v1/notes", content=f'{{{names},"0":2}}'.encode(), headers=headers)
    assert kind(answer) == (400, "duplicate-key")


async def test_no_digit_of_a_number_is_lost_to_a_float(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = {**bearer("hr_admin"), "Content-Type": "application/json"}
    body = b'{"text": "a", "weight": 12345678901234567.890123456789}'
    answer = await notes.post("/v1/notes", content=body, headers=headers)
    assert answer.json()["weight"] == "12345678901234567.890123456789"


def nested(depth: int) -> object:
    return [nested(depth - 1), {"]": '[\\"{'}] if depth else 'x"]}\\'


@given(st.integers(min_value=0, max_value=60))
def test_depth_is_counted_outside_of_strings_only(depth: int) -> None:
    raw = json.dumps(nested(depth)).encode()
    if depth + 1 <= 32:
        check_depth(raw)
    elif depth > 32:
        with pytest.raises(Refusal):
            check_depth(raw)


leaves = st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{}é')


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='a"\\]}'), inner)))
def test_any_shallow_json_passes(value: object) -> None:
    check_depth(json.dumps(value, ensure_ascii=False).encode())


def test_the_depth_of_a_large_flat_body_is_checked_in_passing() -> None:
    check_depth(b"[" + b",".join([b'{"id": "x", "at": {"y": [1]}}'] * 100_000) + b"]")


async def test_a_body_of_a_hundred_thousand_empty_pieces_is_refused_at_once(
    notes: httpx.AsyncClient, bearer: Bearer
) -> None:
    piece = zstandard.ZstdCompressor().compress(b"")
    headers = {**bearer("hr_admin"), "Content-Type": "application/json", "Content-Encoding": "zstd"}
    answer = await notes.post("/v1/notes", content=piece * 100_000, headers=headers)
    assert kind(answer) == (400, "broken-encoding")


async def test_a_body_may_come_in_several_pieces(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    for name, compress in (("zstd", zstandard.ZstdCompressor().compress), ("gzip", gzip.compress)):
        body = b"".join(compress(bytes([byte])) for byte in b'{"text": "in pieces"}')
        headers = {**bearer("hr_admin"), "Content-Type": "application/json", "Content-Encoding": name}
        assert (await notes.post("/v1/notes", content=body, headers=headers)).status_code == 201
