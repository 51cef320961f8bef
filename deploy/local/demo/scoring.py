"""What a person's own readings and ratings should score, by the independent recomputation of `deploy.verify`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from deploy.local.demo import scheme
from deploy.local.demo.activity import Reading
from deploy.local.demo.opinions import Rating
from deploy.local.demo.world import CYCLE, FIRST_DAY, GRADE_OF, Worker, World
from deploy.verify import facts, scores

Ratings = Mapping[str, Sequence[Fraction]]


class Scorer:
    """The rulebook of one world, in the recomputation's terms."""

    def __init__(self, world: World) -> None:
        bands = [(band, Fraction(cut)) for band, cut in scheme.BANDS]
        self._cycle = facts.Cycle(CYCLE, FIRST_DAY, world.last_day, bands)
        metrics = {key: _metric(fields) for key, fields in scheme.METRICS.items()}
        self._templates = [_template(head, version, metrics) for head, version in scheme.templates()]

    def card(self, worker: Worker, readings: Iterable[Reading], ratings: Ratings) -> scores.Scorecard:
        observed = [
            facts.Observation(
                reading.root,
                reading.revision,
                reading.metric,
                reading.day,
                Fraction(reading.numerator),
                Fraction(reading.denominator),
                reading.void,
            )
            for reading in readings
        ]
        return scores.scorecard(_person(worker), self._cycle, self._templates, facts.in_force(observed), ratings)


def by_person(ratings: Iterable[Rating]) -> dict[str, dict[str, list[Fraction]]]:
    """The ratings of each person, by category."""
    found: dict[str, dict[str, list[Fraction]]] = {}
    for rating in ratings:
        found.setdefault(rating.employee, {}).setdefault(rating.category, []).append(Fraction(rating.rating))
    return found


def score_text(score: Fraction | Decimal | None) -> str:
    """A score as the API writes it: twelve places, or nothing."""
    if score is None:
        return ""
    exact = Decimal(score.numerator) / Decimal(score.denominator) if isinstance(score, Fraction) else score
    return f"{exact:.12f}"


def _person(worker: Worker) -> facts.Person:
    places = [
        facts.Place(
            stint.first,
            stint.last,
            stint.role,
            GRADE_OF[stint.role],
            stint.unit,
            stint.manager,
            stint.program.client,
            stint.program.line_of_business,
            stint.site.id,
        )
        for stint in worker.stints
    ]
    return facts.Person(worker.id, places, worker.absences)


def _metric(fields: scheme.Fields) -> facts.Metric:
    return facts.Metric(
        higher_is_better=fields["direction"] == "higher-is-better",
        aggregation=str(fields["aggregation"]),
        missing_data=str(fields["missing_data"]),
        minimum_volume=Fraction(str(fields["minimum_volume"])),
    )


def _template(head: scheme.Fields, version: Mapping[str, Any], metrics: Mapping[str, facts.Metric]) -> facts.Template:
    selector: Mapping[str, str | None] = head["selector"]  # type: ignore[assignment] # as `scheme` writes it
    return facts.Template(
        id=str(head["template"]),
        version=1,
        effective_from=date.fromisoformat(version["effective_from"]),
        role=selector["role"],
        client=selector["client"],
        line_of_business=selector["line_of_business"],
        parts=[_part(part) for part in version["parts"]],
        gates=[
            facts.Gate(gate["metric"], Fraction(gate["at_least"]), None, gate["band_cap"]) for gate in version["gates"]
        ],
        metrics=metrics,
        coverage_minimum=Fraction(version["coverage_minimum"]),
        weight_maximum=Fraction(version["weight_maximum"]),
    )


def _part(part: Mapping[str, Any]) -> facts.Part:
    curve = part["curve"]
    return facts.Part(
        part["part"],
        part.get("metric"),
        part.get("category"),
        Fraction(part["weight"]),
        facts.Curve(
            [(Fraction(x), Fraction(y)) for x, y in curve["points"]],
            curve["shape"] == "stepped",
            None if curve["accelerator"] is None else Fraction(curve["accelerator"]),
            None if curve["cap"] is None else Fraction(curve["cap"]),
        ),
    )
