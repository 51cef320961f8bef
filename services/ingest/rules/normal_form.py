"""The one form in which two bodies of an event are compared.

A sender may format the same event differently when it tries again: another offset, 12.50 for 12.5, other spaces, other
member order. All of these have one digest; anything that changes the meaning has another.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal

from services.ingest.model import Amendment, Observation
from shared.numbers import plain

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def in_utc(moment: datetime) -> datetime | None:
    """`None` before 2000: nobody measured calls then, and near year 1 a change of zone leaves the calendar."""
    return moment.astimezone(UTC) if moment >= _EARLIEST else None


def digest(*parts: str) -> bytes:
    """Over texts that contain no NUL, which is what keeps ("ab", "c") and ("a", "bc") apart."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def described(sent: Observation | Amendment) -> str:
    """An event in its normal form, as JSON for people."""
    fields = {name: value for name, value in sent._asdict().items() if value is not None and name not in _OURS}
    return json.dumps({name: _shown(value) for name, value in fields.items()}, ensure_ascii=False)


_OURS = frozenset({"position", "digest"})


def _shown(value: str | bool | datetime | Decimal) -> str | bool:
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat() if isinstance(value, datetime) else value
