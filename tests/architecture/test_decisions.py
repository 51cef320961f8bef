"""A decision that nothing holds is a wish: each record names the files that do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_every_decision_names_files_that_hold_it(record: Path) -> None:
    (held,) = re.findall(r"^Held by: (.*)$", record.read_text(), re.MULTILINE)
    named = re.findall(r"[\w/.-]+\.py", held)
    assert named and [path for path in named if not (ROOT / path).is_file()] == []
