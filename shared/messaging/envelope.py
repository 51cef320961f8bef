"""CloudEvents 1.0 in Kafka's binary mode: attributes in headers, the event's JSON as the value."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pydantic import ValidationError

from shared.contracts.event import Event
from shared.contracts.ids import ProviderId
from shared.contracts.topics import EVENT_TYPES, Topic
from shared.errors import InvalidMessage

Headers = Sequence[tuple[str, bytes | None]]
"""As a log has them: names may repeat, and values may be null."""

_PROVIDER_HEADER = "ce_plumblineprovider"


class Record(NamedTuple):
    """One record as a log returns it, before anyone looked inside."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def announced_at(self) -> datetime | None:
        """When its transaction announced it, if the record says so in a form that can be read."""
        try:
            return datetime.fromisoformat(self.header("ce_time") or "")
        except ValueError:
            return None

    def header(self, name: str) -> str | None:
        return _text(_first_of_each(self.headers), name)


class Delivery(NamedTuple):
    """A decoded record."""

    event: Event
    event_id: str
    offset: int
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one provider has in one partition's batch, in order. `lag` is what still waits behind it."""

    provider: ProviderId
    deliveries: tuple[Delivery, ...]
    received_at: datetime
    lag: int

    @property
    def events(self) -> list[Event]:
        return [delivery.event for delivery in self.deliveries]


def _first_of_each(headers: Headers) -> Mapping[str, bytes | None]:
    """Of headers of one name the first that is not null."""
    found = dict(headers)
    if len(found) < len(headers):
        found = dict(header for header in reversed(headers) if header[1] is not None)
    return found


def _text(headers: Mapping[str, bytes | None], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def headers_of(
    *, event_id: str, event_type: str, time: datetime, source: str, provider: str, key: str, traceparent: str | None
) -> list[tuple[str, bytes]]:
    return [
        ("ce_id", event_id.encode()),
        ("ce_time", _written(time)),
        ("ce_subject", key.encode()),
        *_alike(event_type, source, provider, traceparent),
    ]


@functools.lru_cache(maxsize=16)  # the messages of one row share it
def _written(time: datetime) -> bytes:
    return time.isoformat().encode()


@functools.lru_cache(maxsize=1_024)
def _alike(event_type: str, source: str, provider: str, traceparent: str | None) -> tuple[tuple[str, bytes], ...]:
    """The headers that all events of one transaction share."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_type": event_type,
        "ce_source": f"/plumbline/{source}",
        _PROVIDER_HEADER: provider,
        "content-type": "application/json",
    }
    if traceparent:
        attributes["traceparent"] = traceparent
    return tuple((name, value.encode()) for name, value in attributes.items())


def provider_of(record: Record) -> ProviderId | None:
    """The provider a record says it belongs to, for filing it as a dead letter."""
    return _provider(record.header(_PROVIDER_HEADER))


def _provider(stated: str | None) -> ProviderId | None:
    return ProviderId(stated) if stated and stated.isprintable() else None


def _located(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"/{'/'.join(map(str, first['loc']))}: {first['msg']}"


def decode(record: Record, topic: Topic) -> Delivery:
    """The event of a record, or `InvalidMessage` with a reason that repeats none of its content."""
    headers = _first_of_each(record.headers)
    event_type = _text(headers, "ce_type")
    event_id = _text(headers, "ce_id")
    if event_type is None or event_id is None:
        raise InvalidMessage("the headers ce_type and ce_id are required")
    model = EVENT_TYPES.get(event_type)
    if model is None or model not in topic.events:
        raise InvalidMessage(f"topic {topic.name} has no event of the type named in ce_type")
    if record.value is None:
        raise InvalidMessage("the record has no value")
    try:
        event = model.model_validate_json(record.value)
    except ValidationError as error:
        raise InvalidMessage(f"not a {event_type}: {_located(error)}") from error
    stated = _provider(_text(headers, _PROVIDER_HEADER))
    if stated is not None and stated != event.provider:
        raise InvalidMessage("the provider in the header is not the provider in the body")
    return Delivery(event, event_id, record.offset, _text(headers, "traceparent"))
