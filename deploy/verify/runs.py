"""Runs as compensation keeps them, put into the plain terms of the recomputation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import asyncpg

from deploy.verify.pay import Bonus, Classified, Pay, Payout, PayRange, Plan, Rate, Subject, Terms

Document = Mapping[str, Any]
"""JSON as compensation wrote it."""


@dataclass(frozen=True)
class Run:
    """`pools` are the amounts of the budget; `scope` what it is for, by field; empty lists are everybody."""

    provider: str
    id: str
    cycle: str
    plan: str
    currency: str
    terms: Terms
    pools: Mapping[str, int]
    scope: Mapping[str, Sequence[str]]
    scale_up: bool
    approved_at: datetime | None
    computed_at: datetime


@dataclass(frozen=True)
class Gathered:
    """A person of a run. `version` is the classification it was computed from."""

    person: Subject
    version: int | None
    kept: Classified | None
    pay: Sequence[Document]


async def read(compensation: asyncpg.Connection) -> list[Run]:
    """Those that were computed and not overtaken since."""
    rows = await compensation.fetch("""
        SELECT runs.*, content FROM runs JOIN plan_versions USING (provider_id, plan)
        WHERE plan_versions.version = runs.plan_version AND state IN ('computed', 'approved')
        ORDER BY provider_id, run
    """)
    return [_run(row) for row in rows]


def _run(row: asyncpg.Record) -> Run:
    context: Document = row["context"]
    reference, budget = context["reference"], context["terms"]
    terms = Terms(
        plan=_plan(row["content"]),
        first=date.fromisoformat(context["period"]["first"]),
        last=date.fromisoformat(context["period"]["last"]),
        ranges=[
            PayRange(
                found["grade"],
                found["currency"],
                found["minimum"],
                found["maximum"],
                date.fromisoformat(found["valid_from"]),
            )
            for found in reference["ranges"]
        ],
        rates=[
            Rate(found["source"], found["target"], Fraction(found["rate"]), date.fromisoformat(found["on"]))
            for found in reference["rates"]
        ],
        teams={team["unit"]: Fraction(team["mean"]) for team in reference["teams"]},
    )
    return Run(
        provider=row["provider_id"],
        id=row["run"],
        cycle=row["cycle"],
        plan=row["plan"],
        currency=row["currency"],
        terms=terms,
        pools={"merit": budget["merit_pool"], "bonus": budget["bonus_pool"]},
        scope=budget["scope"],
        scale_up=budget["scale_up"],
        approved_at=row["approved_at"],
        computed_at=row["computed_at"],
    )


def _plan(content: Document) -> Plan:
    cells = {}
    for row in content["merit"]:
        band = None if row["band"] == "unrated" else row["band"]
        for zone, cell in row["cells"].items():
            cells[band, zone] = (
                Fraction(cell["minimum"]),
                Fraction(cell["default"]),
                Fraction(cell["maximum"]),
            )
    return Plan(
        currency=content["currency"],
        bands=content["bands"],
        cells=cells,
        lump_sum=content["lump_sum_above_maximum"],
        leave_counts=content["absences"] == "count",
        rounding=content["rounding"],
        bonus=None if content["bonus"] is None else _bonus(content["bonus"]),
    )


def _bonus(found: Document) -> Bonus:
    weights = None
    if found["type"] == "additive":
        weights = (Fraction(found["team_weight"]), Fraction(found["individual_weight"]))
    return Bonus(
        weights=weights,
        team=_payout(found["team_curve"]),
        individual=_payout(found["individual_curve"]),
        cap_percent=Fraction(found["cap_percent"]),
        gate_band=found["gate_band"],
    )


def _payout(curve: Document) -> Payout:
    faster = curve["accelerator"]
    return Payout(
        points=[(Fraction(point["score"]), Fraction(point["percent"])) for point in curve["points"]],
        stepped=curve["kind"] == "stepped",
        slope=Fraction(faster["slope"]) if faster else None,
        hard_cap=Fraction(faster["hard_cap"]) if faster else None,
    )


def gathered(inputs: Document) -> Gathered:
    kept = inputs["classification"]
    person = Subject(
        employee=inputs["employee"],
        pay=[_pay(entry) for entry in inputs["pay"]],
        employed=[_span(span) for span in inputs["employed"]],
        away=[_span(span) for span in inputs["absences"]],
        awarded_by=inputs["awarded_by"],
        # Runs of an earlier version did not look for other plans.
        held=list(inputs.get("held", ())),
    )
    if kept is None:
        return Gathered(person, None, None, inputs["pay"])
    classified = Classified(
        version=kept["version"],
        scorecard_version=kept["scorecard_version"],
        band=kept["band"],
        score=None if kept["score"] is None else Fraction(kept["score"]),
        grade=kept["grade"],
        unit=kept["unit"],
    )
    return Gathered(person, kept["version"], classified, inputs["pay"])


def _pay(entry: Document) -> Pay:
    return Pay(
        first=date.fromisoformat(entry["valid_from"]),
        last=_day(entry["valid_to"]),
        base=entry["base"],
        currency=entry["currency"],
        fte=Fraction(entry["fte"]),
        target_percent=Fraction(entry["target_bonus_percent"]),
    )


def _span(span: Document) -> tuple[date, date | None]:
    return date.fromisoformat(span["first"]), _day(span["last"])


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
