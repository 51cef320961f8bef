"""What callers branch on is documented."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_REASON = re.compile(r'(?:code(?:: ClassVar\[str\])?\s*=\s*|(?:Refusal|problem)\(\s*\d{3},\s*)"([a-z0-9-]+)"')


def test_every_reason_of_the_shared_machinery_is_in_the_documentation() -> None:
    sources = (ROOT / "shared").rglob("*.py")
    reasons = {reason for source in sources for reason in _REASON.findall(source.read_text())}
    documented = set(re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs" / "problems.md").read_text()))
    assert {"client-boundary", "body-too-large", "rule-violation"} <= reasons
    assert reasons - documented == set()
