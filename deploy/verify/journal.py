"""What ingest accepted and scoring keeps of it: the same rows, and sums that follow from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction

import asyncpg

from deploy.verify.databases import Key
from deploy.verify.differences import Findings
from deploy.verify.facts import Observation

Rows = Sequence[asyncpg.Record]
Ratings = Mapping[tuple[str, str, str], Mapping[str, Sequence[Fraction]]]
"""By provider, cycle and employee: of each category the latest rating of every rater."""


def check_copies(key: Key, rows: Mapping[str, Rows], findings: Findings) -> None:
    for table, told, known, named in (
        ("assignments", rows["places"], rows["known_places"], ("valid_from",)),
        ("absences", rows["absences"], rows["known_absences"], ("starts_on", "ends_on")),
    ):
        _check_rows("scoring", table, key, told, known, named, findings)


def check_facts(key: Key, journal: Rows, facts: Rows, findings: Findings) -> None:
    findings.count("facts", len(facts))
    _check_rows("scoring", "facts", key, journal, facts, ("event",), findings)


def _check_rows(
    database: str, table: str, key: Key, told: Rows, known: Rows, named: tuple[str, ...], findings: Findings
) -> None:
    """The rows of one person there and here, matched by `named`, equal in every column that both have."""
    there = {tuple(row[name] for name in named): dict(row.items()) for row in told}
    here = {tuple(row[name] for name in named): dict(row.items()) for row in known}
    for name in sorted(there.keys() - here.keys()):
        findings.missing(database, table, (*key, *name), there[name])
    for name in sorted(here.keys() - there.keys()):
        findings.unexpected(database, table, (*key, *name), here[name])
    for name in sorted(here.keys() & there.keys()):
        both = {column: value for column, value in there[name].items() if column in here[name]}
        findings.compare(database, table, (*key, *name), here[name], both)


def check_day_sums(key: Key, observations: Sequence[Observation], stored: Rows, findings: Findings) -> None:
    """A day on which nothing counts any more may have a row of zeros or none."""
    sums: dict[tuple[date, str], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0), Fraction(0)])
    for found in observations:
        added = sums[found.day, found.metric]
        for place, value in enumerate((found.numerator, found.denominator, Fraction(1))):
            added[place] += value
    kept = {(row["day"], row["metric"]): row for row in stored}
    for day in sorted(sums.keys() - kept.keys()):
        findings.missing("scoring", "day_sums", (*key, *day), sums[day])
    for day, row in kept.items():
        findings.count("day sums")
        computed = dict(zip(("numerator", "denominator", "events"), sums[day], strict=True))
        findings.compare("scoring", "day_sums", (*key, *day), row, computed)


_RATINGS = """
    SELECT provider_id, {cycle} AS cycle, {employee} AS employee, category, {rater} AS rater, revision, rating
    FROM {table}
"""


async def check_ratings(ingest: asyncpg.Connection, scoring: asyncpg.Connection, findings: Findings) -> Ratings:
    """Everything anybody said stands in both; what is returned is the last word of each rater."""
    told = _RATINGS.format(cycle="cycle_id", employee="employee_id", rater="rater_id", table="feedback")
    known = _RATINGS.format(cycle="cycle", employee="employee", rater="rater", table="ratings")
    submitted = {tuple(row.values())[:6]: row["rating"] for row in await ingest.fetch(told)}
    stored = {tuple(row.values())[:6]: row["rating"] for row in await scoring.fetch(known)}
    findings.count("ratings", len(stored))
    for key in sorted(submitted.keys() - stored.keys()):
        findings.missing("scoring", "ratings", key, submitted[key])
    for key in sorted(stored.keys() - submitted.keys()):
        findings.unexpected("scoring", "ratings", key, stored[key])
    for key in sorted(stored.keys() & submitted.keys()):
        findings.compare("scoring", "ratings", key, {"rating": stored[key]}, {"rating": submitted[key]})
    last: dict[tuple[str, ...], Fraction] = {}
    for (*thread, _), rating in sorted(submitted.items()):
        last[tuple(thread)] = Fraction(rating)
    found: dict[tuple[str, str, str], dict[str, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    for (provider, cycle, employee, category, _), value in last.items():
        found[provider, cycle, employee][category].append(value)
    return found
