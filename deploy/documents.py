"""Write the OpenAPI documents, the AsyncAPI document and the event schemas: `python -m deploy.documents`.

They are checked in; a test fails when they are not what the code says.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.services import SERVICES
from shared.contracts.event import Event
from shared.contracts.topics import EVENT_TYPES, TOPICS
from shared.process import VERSION, openapi

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
SCHEMAS = ROOT / "tests" / "contracts" / "schemas"

Json = Mapping[str, object]


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def schema(event: type[Event]) -> Json:
    return event.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")


def asyncapi() -> Json:
    """AsyncAPI 3: one channel for each topic, one message for each event type, CloudEvents headers."""
    schemas: dict[str, object] = {}
    messages: dict[str, object] = {}
    for name, event in EVENT_TYPES.items():
        body = dict(schema(event))
        definitions = body.pop("$defs", {})
        if isinstance(definitions, dict):
            schemas |= definitions
        schemas[event.__name__] = body
        messages[event.__name__] = {
            "name": name,
            "summary": (event.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
            "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        }
    schemas["CloudEventHeaders"] = {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject"],
        "properties": {
            **{f"ce_{name}": {"type": "string"} for name in ("specversion", "id", "type", "source", "time", "subject")},
            "ce_plumblineprovider": {"type": "string"},
            "traceparent": {"type": "string"},
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Plumbline events", "version": VERSION},
        "channels": {topic.name: _channel(topic.name) for topic in TOPICS},
        "operations": {f"publish-{topic.name}": _operation(topic.name) for topic in TOPICS},
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(name: str) -> Json:
    topic = next(topic for topic in TOPICS if topic.name == name)
    kept = "compacted, whole states" if topic.compacted else "kept 14 days"
    return {
        "address": topic.name,
        "description": f"Written by {topic.owner}, keyed by {topic.key}, {topic.partitions} partitions, {kept}.",
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"} for event in topic.events},
    }


def _operation(name: str) -> Json:
    return {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}


def documents() -> Iterator[tuple[Path, str]]:
    """Every generated file with its content."""
    for name in SERVICES:
        service = importlib.import_module(f"services.{name}.app").SERVICE
        yield API / f"{name}.openapi.json", openapi(service)
    yield API / "events.asyncapi.json", _text(asyncapi())
    for name, event in EVENT_TYPES.items():
        yield SCHEMAS / f"{name}.json", _text(schema(event))


if __name__ == "__main__":
    for path, content in documents():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
