"""Events and documents are frozen: what was written once must stay readable, and what is documented must be true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.documents import API, documents
from shared.contracts.event import Event
from shared.contracts.topics import EVENT_TYPES, TOPICS

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE / "examples").glob("*.json"))


@pytest.mark.parametrize(("path", "content"), list(documents()), ids=lambda value: getattr(value, "name", ""))
def test_the_generated_document_is_the_one_checked_in(path: Path, content: str) -> None:
    assert path.is_file() and path.read_text() == content, f"{path.name} has drifted: run `make docs` and read the diff"


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        yield from references([*value.values()])
    if isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize("path", sorted(API.glob("*.json")), ids=lambda path: path.name)
def test_every_reference_leads_somewhere_in_its_own_document(path: Path) -> None:
    document = json.loads(path.read_text())
    for reference in references(document):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_old_example_is_still_accepted(path: Path) -> None:
    event_type = path.stem.split("@")[0]
    event = EVENT_TYPES[event_type].model_validate_json(path.read_text())
    written = json.loads(event.model_dump_json())
    assert written == json.loads(path.read_text()) | written
    assert event.key().startswith(event.provider)


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.TYPE)
def test_every_event_type_has_an_example_and_takes_unknown_fields(event: type[Event]) -> None:
    example = next(path for path in EXAMPLES if path.stem.startswith(event.TYPE))
    newer = json.loads(example.read_text()) | {"field_of_a_later_version": 1}
    assert event.model_validate(newer) == event.model_validate_json(example.read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_missing_provider_is_refused(path: Path) -> None:
    body = json.loads(path.read_text())
    del body["provider"]
    with pytest.raises(ValueError, match="provider"):
        EVENT_TYPES[path.stem.split("@")[0]].model_validate(body)


def test_topic_names_and_event_types_are_unique() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert all(name == event.TYPE for name, event in EVENT_TYPES.items())
