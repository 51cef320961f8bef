"""CloudEvents 1.0 over HTTP: structured, batched, and binary with the attributes in headers.

The event's `id` is the KPI event's, its `time` the default of `occurred_at`, and `data` holds the rest. `source` and
`type` are required by the standard and decide nothing: the key says whose event it is, its members what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from fastapi import Request

from services.ingest.api.bodies import Documents, Unreadable, alone, few, in_list, read_json, unsupported
from shared.web import NAMED_TWICE, Refusal, Repeated, pointer

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_REQUIRED = ("id", "source", "specversion", "type")


def read_structured(raw: bytes) -> Documents:
    content = read_json(raw)
    if not isinstance(content, dict | Repeated):
        raise Refusal(400, "malformed-json", f"one event is an object; several are sent as {BATCH}")
    return _opened([content], single=True)


def read_batch(raw: bytes) -> Documents:
    content = read_json(raw)
    if not isinstance(content, list):
        raise Refusal(400, "malformed-json", "a batch is an array of events")
    return _opened(few(content), single=False)


def is_binary(request: Request) -> bool:
    return "ce-specversion" in request.headers


def read_binary(request: Request, raw: bytes, kind: str) -> Documents:
    """The body is the data alone, so pointers lead into it; an attribute is named by its header."""
    if kind != "application/json":
        raise unsupported("application/json when the attributes are in headers")
    headers = {name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")}
    data = read_json(raw)
    item = _event({**headers, "data": data})

    def pointer(index: int, field: str | None) -> str:
        inside = _in_envelope(data, field)
        if inside is not None and inside.partition("/")[0] != "data":
            return f"ce-{inside}"
        return alone(index, (inside or "").partition("/")[2] or None)

    return Documents([item], pointer)


def _opened(envelopes: Sequence[object], *, single: bool) -> Documents:
    def pointer(index: int, field: str | None) -> str:
        envelope = envelopes[index]
        inside = _in_envelope(envelope.get("data") if isinstance(envelope, dict) else None, field)
        return alone(index, inside) if single else in_list(index, inside)

    return Documents([_event(envelope) for envelope in envelopes], pointer)


def _event(envelope: object) -> object:
    """The KPI event in an envelope; what is no envelope is refused later, as what it is."""
    if isinstance(envelope, Repeated):
        return Unreadable("duplicate-key", NAMED_TWICE, _ENVELOPE + pointer([envelope.member])[1:])
    if not isinstance(envelope, dict):
        return envelope
    for name in _REQUIRED:
        if not isinstance(envelope.get(name), str) or not envelope[name]:
            return Unreadable("missing", f"a CloudEvent has the attribute {name}", f"{_ENVELOPE}{name}")
    if envelope["specversion"] != "1.0":
        return Unreadable("invalid", "only CloudEvents 1.0 are read", f"{_ENVELOPE}specversion")
    data = envelope.get("data")
    if isinstance(data, Repeated):
        return data
    if not isinstance(data, dict):
        return Unreadable("missing", "the KPI event is the JSON object in data", f"{_ENVELOPE}data")
    if "id" in data:
        return Unreadable("invalid", "the id is the envelope's", f"{_ENVELOPE}data/id")
    time = {"occurred_at": envelope["time"]} if "time" in envelope else {}
    return {**time, **data, "id": envelope["id"]}


_ENVELOPE = "envelope:"
"""Marks a field as an attribute, where the data may have a member of the same name."""


def _in_envelope(data: object, field: str | None) -> str | None:
    """Where a field of the KPI event stands in the envelope it came in."""
    if field is None:
        return None
    if field.startswith(_ENVELOPE):
        return field.removeprefix(_ENVELOPE)
    if field == "id":
        return "id"
    if field == "occurred_at" and isinstance(data, dict) and "occurred_at" not in data:
        return "time"
    return f"data/{field}"
