"""Awards as they are now and the ledger behind them: from the run's amounts through every later classification."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg

from deploy.verify.classified import Version, Versions
from deploy.verify.differences import Findings
from deploy.verify.outcomes import COMPONENTS, POOL_OF, Outcome, explained
from deploy.verify.pay import Classified, asked
from deploy.verify.pools import clip, rounded
from deploy.verify.runs import Run


async def check(
    compensation: asyncpg.Connection,
    decided: Mapping[tuple[str, str], Outcome],
    versions: Versions,
    findings: Findings,
) -> None:
    kept = await _Kept.read(compensation)
    for (provider, run_id), outcome in sorted(decided.items()):
        run = outcome.run
        for employee in sorted({employee for employee, _ in outcome.claims}):
            key = (provider, employee, run.plan, run.cycle)
            if key not in kept.awards:
                findings.missing("compensation", "awards", key, f"an award of run {run_id}")
                continue
            known = versions.get((provider, run.cycle, employee), {})
            _check_award(outcome, employee, known, kept, findings)
    for component, plans in sorted(kept.plans.items()):
        if len(plans) > 1:
            findings.unexpected(
                "compensation", "ledger_entries", component, f"awarded by {' and '.join(sorted(plans))}"
            )
    ran = {
        (provider, employee, outcome.run.plan, outcome.run.cycle)
        for (provider, _), outcome in decided.items()
        for employee, _ in outcome.claims
    }
    for table, rows in (("awards", kept.awards), ("ledger_entries", kept.entries), ("recoveries", kept.recoveries)):
        for key in sorted(rows.keys() - ran):
            findings.unexpected("compensation", table, key)


Award = tuple[str, str, str, str]
"""Provider, employee, plan and cycle."""

Component = tuple[str, str, str, str]
"""Provider, employee, cycle and component: what one plan at most awards."""


@dataclass(frozen=True)
class _Kept:
    awards: Mapping[Award, asyncpg.Record]
    amounts: Mapping[Award, Mapping[str, int]]
    entries: Mapping[Award, Sequence[asyncpg.Record]]
    plans: Mapping[Component, Collection[str]]
    recoveries: Mapping[Award, Sequence[asyncpg.Record]]
    lines: Mapping[tuple[Award, int], Sequence[Mapping[str, str]]]

    @staticmethod
    async def read(compensation: asyncpg.Connection) -> _Kept:
        def key(row: asyncpg.Record) -> Award:
            return (row["provider_id"], row["employee"], row["plan"], row["cycle"])

        amounts: dict[Award, dict[str, int]] = defaultdict(dict)
        for row in await compensation.fetch("SELECT * FROM award_amounts"):
            amounts[key(row)][row["component"]] = row["amount"]
        entries: dict[Award, list[asyncpg.Record]] = defaultdict(list)
        plans: dict[Component, set[str]] = defaultdict(set)
        for row in await compensation.fetch("SELECT * FROM ledger_entries ORDER BY component, sequence, posted_at"):
            entries[key(row)].append(row)
            plans[row["provider_id"], row["employee"], row["cycle"], row["component"]].add(row["plan"])
        recoveries: dict[Award, list[asyncpg.Record]] = defaultdict(list)
        for row in await compensation.fetch("SELECT * FROM recoveries ORDER BY classification_version, proposed_at"):
            recoveries[key(row)].append(row)
        lines = {
            (key(row), row["classification_version"]): row["lines"]
            for row in await compensation.fetch("SELECT * FROM adjustments")
        }
        awards = {key(row): row for row in await compensation.fetch("SELECT * FROM awards")}
        return _Kept(awards, amounts, entries, plans, recoveries, lines)

    def held_by_others(self, award: Award) -> list[str]:
        """Components whose chain another plan began: this one never has, and never will."""
        provider, employee, plan, cycle = award
        held = ((part, self.plans.get((provider, employee, cycle, part), ())) for part in COMPONENTS)
        return [part for part, plans in held if plans and plan not in plans]


def _check_award(
    outcome: Outcome, employee: str, known: Mapping[int, Version], kept: _Kept, findings: Findings
) -> None:
    """From the run's amounts through every later classification to the award as it must be now."""
    run = outcome.run
    key = (run.provider, employee, run.plan, run.cycle)
    first = outcome.people[employee].version or 0
    amounts = {first: {part: outcome.amounts[employee, part] for part in _parts(outcome, employee)}}
    for number in sorted(version for version in known if version > first):
        amounts[number] = _amounts_now(outcome, employee, known[number].classified, kept.held_by_others(key))
        lines = kept.lines.get((key, number))
        if lines is None:
            findings.missing("compensation", "adjustments", (*key, number))
            continue
        stored = {part: explained(part, lines) for part in amounts[number]}
        findings.compare("compensation", "adjustments", (*key, number), stored, amounts[number])
    last = max(amounts)
    findings.count("awards")
    row, ledger = kept.awards[key], _Ledger(key, amounts, kept)
    told = known[last].classified if last in known else outcome.people[employee].kept
    moved = ledger.check(run, findings)
    computed: dict[str, object] = {
        "run": run.id,
        "version": 1 + len(moved),
        "classification_version": last,
        "scorecard_version": told.scorecard_version if told else None,
        "band": told.band if told else None,
    }
    findings.compare("compensation", "awards", key, row, computed)
    stored_amounts = {part: kept.amounts.get(key, {}).get(part, 0) for part in COMPONENTS}
    now = {part: amounts[last].get(part, 0) for part in COMPONENTS}
    findings.compare("compensation", "award_amounts", key, stored_amounts, now)


def _parts(outcome: Outcome, employee: str) -> list[str]:
    return [part for part in COMPONENTS if (employee, part) in outcome.claims]


def _amounts_now(outcome: Outcome, employee: str, classified: Classified, held: Collection[str]) -> dict[str, int]:
    """Under the run's rules, reference and factors; a claim that is what it was in the run gets what it got there."""
    found = asked(outcome.run.terms, replace(outcome.people[employee].person, held=held), classified)
    amounts = dict.fromkeys(_parts(outcome, employee), 0)
    for part, claim in found.claims.items():
        if outcome.claims.get((employee, part)) == claim:
            amounts[part] = outcome.amounts[employee, part]
        else:
            exact = clip(claim, outcome.scales[POOL_OF[part]])
            amounts[part] = rounded(exact, claim.high, outcome.run.terms.plan.rounding)
    return amounts


@dataclass(frozen=True)
class _Ledger:
    """The chains of one award. `amounts` are by classification version, then by component."""

    key: Award
    amounts: Mapping[int, Mapping[str, int]]
    kept: _Kept

    def check(self, run: Run, findings: Findings) -> set[int]:
        """Whether entries and recoveries are what follows from the amounts; the versions that moved something."""
        moved: set[int] = set()
        entries = self.kept.entries.get(self.key, ())
        findings.count("ledger entries", len(entries))
        for part in COMPONENTS:
            expected, proposals, moves = self._follow(part)
            moved |= moves
            self._compare_entries(part, run, expected, findings)
            self._compare_recoveries(part, proposals, findings)
        return moved

    def _follow(self, part: str) -> tuple[list[tuple[int, str]], list[tuple[int, int]], set[int]]:
        """Entries (amount, cause), proposals (version, amount), and the later versions at which something moved.

        A rise is posted at once, a fall proposed; whether it was posted is a person's decision, read from its state.
        """
        entries: list[tuple[int, str]] = []
        proposals: list[tuple[int, int]] = []
        moved: set[int] = set()
        posted = 0
        first = min(self.amounts)
        accepted = {
            row["classification_version"]: row
            for row in self.kept.recoveries.get(self.key, ())
            if row["component"] == part and row["state"] == "accepted"
        }
        for version in sorted(self.amounts):
            delta = self.amounts[version].get(part, 0) - posted
            if not delta:
                continue
            if version != first:
                moved.add(version)
            if delta > 0:
                entries.append((delta, "run/" if version == first else f"classification/{version}"))
                posted += delta
            else:
                proposals.append((version, delta))
                if version in accepted:
                    entries.append((delta, f"recovery/{accepted[version]['recovery']}"))
                    posted += delta
        return entries, proposals, moved

    def _compare_entries(self, part: str, run: Run, expected: Sequence[tuple[int, str]], findings: Findings) -> None:
        stored = [row for row in self.kept.entries.get(self.key, ()) if row["component"] == part]
        before = 0
        for place, (amount, cause) in enumerate(expected):
            key = (*self.key, part, place + 1)
            computed: dict[str, object] = {
                "sequence": place + 1,
                "before": before,
                "amount": amount,
                "after": before + amount,
                "currency": run.currency,
                "run": run.id,
                "cause": f"run/{run.id}" if cause == "run/" else cause,
            }
            before += amount
            if place < len(stored):
                findings.compare("compensation", "ledger_entries", key, stored[place], computed)
            else:
                findings.missing("compensation", "ledger_entries", key, amount)
        for row in stored[len(expected) :]:
            findings.unexpected("compensation", "ledger_entries", (*self.key, part, row["sequence"]), row["amount"])

    def _compare_recoveries(self, part: str, expected: Sequence[tuple[int, int]], findings: Findings) -> None:
        rows = [row for row in self.kept.recoveries.get(self.key, ()) if row["component"] == part]
        stored = [(row["classification_version"], row["amount"]) for row in rows]
        key = (*self.key, part)
        findings.compare("compensation", "recoveries", key, {"proposed": stored}, {"proposed": list(expected)})
        open_now = [row["classification_version"] for row in rows if row["state"] == "proposed"]
        last = max(self.amounts)
        waiting = [
            version
            for version, _ in expected
            if version == last
            and not any(row["classification_version"] == last and row["state"] == "accepted" for row in rows)
        ]
        findings.compare("compensation", "recoveries", key, {"open": open_now}, {"open": waiting})
