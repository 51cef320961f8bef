"""What people decided beforehand: cycles, bands, and the published versions of templates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import asyncpg

from deploy.verify.facts import Curve, Cycle, Gate, Metric, Part, Template


@dataclass(frozen=True)
class KeptCycle:
    """`closed`: facts that came later count in no scorecard of it any more."""

    cycle: Cycle
    closed: bool
    version: int
    state: str
    scorecards: int | None


@dataclass(frozen=True)
class Rulebook:
    """By provider."""

    cycles: Mapping[str, Sequence[KeptCycle]]
    templates: Mapping[str, Sequence[Template]]


async def read(scoring: asyncpg.Connection) -> Rulebook:
    cycles: dict[str, list[KeptCycle]] = defaultdict(list)
    for row in await scoring.fetch("SELECT * FROM cycles ORDER BY provider_id, cycle"):
        bands = [(band["band"], Fraction(band["cut_score"])) for band in row["bands"]]
        cycle = Cycle(row["cycle"], row["starts_on"], row["ends_on"], bands)
        kept = KeptCycle(cycle, row["state"] == "closed", row["version"], row["state"], row["scorecards"])
        cycles[row["provider_id"]].append(kept)
    templates: dict[str, list[Template]] = defaultdict(list)
    for row in await scoring.fetch("""
        SELECT * FROM template_versions JOIN templates USING (provider_id, template)
        WHERE state = 'published' ORDER BY provider_id, template, version
    """):
        templates[row["provider_id"]].append(_template(row))
    return Rulebook(cycles, templates)


def _template(row: asyncpg.Record) -> Template:
    return Template(
        id=row["template"],
        version=row["version"],
        effective_from=row["effective_from"],
        role=row["role"],
        client=row["client"],
        line_of_business=row["line_of_business"],
        parts=[_part(part) for part in row["parts"]],
        gates=[_gate(gate) for gate in row["gates"]],
        metrics={name: _metric(metric) for name, metric in row["metrics"].items()},
        coverage_minimum=Fraction(row["coverage_minimum"]),
        weight_maximum=Fraction(row["weight_maximum"]),
    )


Document = Mapping[str, str]


def _part(found: Mapping[str, object]) -> Part:
    curve = found["curve"]
    if not isinstance(curve, Mapping):
        raise TypeError("a part without a curve")
    measured = found["kind"] == "metric"
    source = str(found["source"])
    return Part(
        name=str(found["part"]),
        metric=source if measured else None,
        category=None if measured else source,
        weight=Fraction(str(found["weight"])),
        curve=Curve(
            points=[(Fraction(x), Fraction(y)) for x, y in curve["points"]],
            stepped=curve["shape"] == "stepped",
            accelerator=_number(curve["accelerator"]),
            cap=_number(curve["cap"]),
        ),
    )


def _gate(found: Document) -> Gate:
    return Gate(found["metric"], _number(found["at_least"]), _number(found["at_most"]), found["band_cap"])


def _metric(found: Document) -> Metric:
    return Metric(
        higher_is_better=bool(found["higher_is_better"]),
        aggregation=found["aggregation"],
        missing_data=found["missing_data"],
        minimum_volume=Fraction(found["minimum_volume"]),
    )


def _number(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)
