"""Documents lead where they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def dead_links(document: Path, text: str) -> list[str]:
    return [target for target in _LINK.findall(text) if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_something(document: Path) -> None:
    assert dead_links(document, document.read_text()) == []


def test_a_link_to_nothing_is_seen() -> None:
    assert dead_links(ROOT / "README.md", "[a](docs/gone.md) [b](README.md#start) [c](https://x.test/y)") == [
        "docs/gone.md"
    ]
