"""Classifications as calibration published them, and compensation's copy of the newest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import asyncpg

from deploy.verify.differences import Findings
from deploy.verify.pay import Classified


@dataclass(frozen=True)
class Version:
    """A classification version as calibration published it, with where it places the person."""

    classified: Classified
    placement: Mapping[str, str]
    published_at: datetime


Versions = Mapping[tuple[str, str, str], Mapping[int, Version]]
"""By provider, cycle and employee, then by version."""


async def published(calibration: asyncpg.Connection) -> Versions:
    found: dict[tuple[str, str, str], dict[int, Version]] = defaultdict(dict)
    for row in await calibration.fetch("SELECT * FROM classifications"):
        classified = Classified(
            version=row["version"],
            scorecard_version=row["scorecard_version"],
            band=row["band"],
            score=None if row["score"] is None else Fraction(row["score"]),
            grade=row["grade"],
            unit=row["unit"],
        )
        placement = {
            "units": row["unit"],
            "clients": row["client"],
            "lines_of_business": row["line_of_business"],
            "sites": row["site"],
        }
        key = (row["provider_id"], row["cycle"], row["employee"])
        found[key][row["version"]] = Version(classified, placement, row["published_at"])
    return found


async def check_copies(compensation: asyncpg.Connection, versions: Versions, findings: Findings) -> None:
    rows = await compensation.fetch("SELECT * FROM classifications")
    known = {(row["provider_id"], row["cycle"], row["employee"]): row for row in rows}
    for key in sorted(versions.keys() - known.keys()):
        findings.missing("compensation", "classifications", key, f"version {max(versions[key])}")
    for key, row in sorted(known.items()):
        if key not in versions:
            findings.unexpected("compensation", "classifications", key, f"version {row['version']}")
            continue
        newest = versions[key][max(versions[key])]
        told = columns(newest.classified) | {
            "client": newest.placement["clients"],
            "line_of_business": newest.placement["lines_of_business"],
            "site": newest.placement["sites"],
        }
        findings.compare("compensation", "classifications", key, row, told)


def columns(classified: Classified) -> dict[str, object]:
    return {
        "version": classified.version,
        "scorecard_version": classified.scorecard_version,
        "band": classified.band,
        "score": classified.score,
        "grade": classified.grade,
        "unit": classified.unit,
    }
