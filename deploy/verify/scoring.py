"""Scoring against ingest's journal: person by person every fact, every sum of a day, every scorecard."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import asyncpg

from deploy.verify.databases import Key, by_person, together
from deploy.verify.differences import Findings
from deploy.verify.facts import Observation, Person, Place, in_force
from deploy.verify.journal import Rows, check_copies, check_day_sums, check_facts, check_ratings
from deploy.verify.rulebook import KeptCycle, Rulebook
from deploy.verify.scores import Scorecard, scorecard

_NO_MORE = 2**62

_INGEST = {
    "places": """
        SELECT provider_id, employee_id, valid_from, valid_to, role, grade, unit, manager, client_id AS client,
               line_of_business, site
        FROM assignments
    """,
    "absences": "SELECT provider_id, employee_id, starts_on, ends_on FROM absences",
    "journal": """
        SELECT provider_id, employee_id, event_id AS event, coalesce(root_id, event_id) AS root, revision, metric,
               occurred_on, numerator, denominator, recorded_at
        FROM kpi_events
    """,
}
_SCORING = {
    "known_places": """
        SELECT provider_id, employee, valid_from, valid_to, role, grade, unit, manager, client, line_of_business, site
        FROM assignments
    """,
    "known_absences": "SELECT provider_id, employee, starts_on, ends_on FROM absences",
    "facts": """
        SELECT provider_id, employee, event, root, revision, metric, occurred_on, numerator, denominator, recorded_at,
               sequence
        FROM facts
    """,
    "day_sums": "SELECT provider_id, employee, day, metric, numerator, denominator, events FROM day_sums",
    "newest": "SELECT provider_id, employee, * FROM scorecards",
    "versions": "SELECT provider_id, employee, * FROM scorecard_versions",
}


async def check(
    ingest: asyncpg.Connection, scoring: asyncpg.Connection, rulebook: Rulebook, findings: Findings
) -> None:
    ratings = await check_ratings(ingest, scoring, findings)
    streams = {name: by_person(ingest, query) for name, query in _INGEST.items()}
    streams |= {name: by_person(scoring, query) for name, query in _SCORING.items()}
    async for key, rows in together(streams):
        if rows["places"]:
            findings.count("people")
        check_copies(key, rows, findings)
        check_facts(key, rows["journal"], rows["facts"], findings)
        observations = [_observation(row) for row in rows["journal"]]
        check_day_sums(key, in_force(observations), rows["day_sums"], findings)
        person = _person(key, rows["places"], rows["absences"])
        for kept in rulebook.cycles.get(key[0], ()):
            counted = in_force(_counted(kept, observations, rows))
            given = ratings.get((key[0], kept.cycle.id, key[1]), {})
            computed = None
            if person.places:
                computed = scorecard(person, kept.cycle, rulebook.templates.get(key[0], ()), counted, given)
            _check_scorecard(key, kept, person, computed, rows, findings)
    await _check_announced(scoring, rulebook, findings)


def _person(key: Key, places: Rows, absences: Rows) -> Person:
    ordered = sorted(places, key=lambda row: row["valid_from"])
    return Person(
        key[1],
        [
            Place(
                row["valid_from"],
                row["valid_to"],
                row["role"],
                row["grade"],
                row["unit"],
                row["manager"],
                row["client"],
                row["line_of_business"],
                row["site"],
            )
            for row in ordered
        ],
        [(row["starts_on"], row["ends_on"]) for row in absences],
    )


def _observation(row: asyncpg.Record) -> Observation:
    void = row["numerator"] is None
    return Observation(
        root=row["root"],
        revision=row["revision"],
        metric=row["metric"],
        day=row["occurred_on"],
        numerator=Fraction(0) if void else Fraction(row["numerator"]),
        denominator=Fraction(0) if void else Fraction(row["denominator"]),
        void=void,
    )


def _counted(kept: KeptCycle, observations: list[Observation], rows: Mapping[str, Rows]) -> list[Observation]:
    """Everything, but for a closed cycle only what the last version made before the close could see."""
    if not kept.closed:
        return observations
    versions = [row["watermark"] for row in rows["versions"] if row["cycle"] == kept.cycle.id]
    seen = {row["event"] for row in rows["facts"] if row["sequence"] <= max(versions, default=_NO_MORE)}
    return [found for found, row in zip(observations, rows["journal"], strict=True) if row["event"] in seen]


def _check_scorecard(
    key: Key,
    kept: KeptCycle,
    person: Person,
    computed: Scorecard | None,
    rows: Mapping[str, Rows],
    findings: Findings,
) -> None:
    named = (key[0], kept.cycle.id, key[1])
    versions = sorted(
        (row for row in rows["versions"] if row["cycle"] == kept.cycle.id), key=lambda row: row["version"]
    )
    here = any(person.at(day) for day in kept.cycle.days())
    if not versions:
        if here and not kept.closed:
            findings.missing("scoring", "scorecard_versions", named, "a scorecard")
        return
    stored = versions[-1]
    if computed is None:
        findings.unexpected("scoring", "scorecard_versions", (*named, stored["version"]))
        return
    findings.count("scorecards")
    findings.compare("scoring", "scorecard_versions", (*named, stored["version"]), _told(stored), _said(computed))
    if [row["version"] for row in versions] != list(range(1, len(versions) + 1)):
        findings.compare(
            "scoring",
            "scorecard_versions",
            named,
            {"versions": [row["version"] for row in versions]},
            {"versions": list(range(1, len(versions) + 1))},
        )
    for row in versions:
        if row["status"] == "accepted":
            accepted = next((each for each in versions if each["version"] == row["accepted_version"]), None)
            if accepted is None:
                findings.missing("scoring", "scorecard_versions", (*named, row["accepted_version"]))
            else:
                findings.compare("scoring", "scorecard_versions", (*named, row["version"]), _told(row), _told(accepted))
    shown = [row for row in rows["newest"] if row["cycle"] == kept.cycle.id]
    if not shown:
        findings.missing("scoring", "scorecards", named)
    for row in shown:
        columns = ("version", "status", "score", "coverage", "proposed_band", "as_of")
        wanted: dict[str, object] = {column: stored[column] for column in columns}
        place = ("role", "unit", "manager", "client", "line_of_business")
        wanted |= {column: stored["placement"][column] for column in place}
        findings.compare("scoring", "scorecards", named, row, wanted)


def _told(row: asyncpg.Record) -> dict[str, object]:
    return {
        "score": row["score"],
        "coverage": row["coverage"],
        "band_before_gates": row["band_before_gates"],
        "proposed_band": row["proposed_band"],
        "parts": {part["part"]: (_number(part["weight"]), _number(part["attainment"])) for part in row["parts"]},
        "gates": {
            (gate["metric"], _number(gate["at_least"]), _number(gate["at_most"]), gate["band_cap"]): gate["state"]
            for gate in row["gates"]
        },
        "placement": row["placement"],
    }


def _said(card: Scorecard) -> dict[str, object]:
    place = card.place
    return {
        "score": card.score,
        "coverage": card.coverage,
        "band_before_gates": card.band_before_gates,
        "proposed_band": card.band,
        "parts": card.parts,
        "gates": {
            (gate.metric, gate.at_least, gate.at_most, gate.band_cap): state for gate, state in card.gates.items()
        },
        "placement": {
            "role": place.role,
            "grade": place.grade,
            "unit": place.unit,
            "manager": place.manager,
            "client": place.client,
            "line_of_business": place.line_of_business,
            "site": place.site,
        },
    }


def _number(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


async def _check_announced(scoring: asyncpg.Connection, rulebook: Rulebook, findings: Findings) -> None:
    """The number that the freeze announced is that of the people with a scorecard that was current."""
    counts = await scoring.fetch("""
        SELECT provider_id, cycle, count(DISTINCT employee) AS people FROM scorecard_versions
        WHERE status = 'current' GROUP BY provider_id, cycle
    """)
    people = {(row["provider_id"], row["cycle"]): row["people"] for row in counts}
    for provider, cycles in rulebook.cycles.items():
        for kept in cycles:
            if kept.scorecards is not None:
                key = (provider, kept.cycle.id)
                counted = {"scorecards": people.get(key, 0)}
                findings.compare("scoring", "cycles", key, {"scorecards": kept.scorecards}, counted)
