"""Compensation: the claims, pools and amounts of every run, the awards as they are now, and the ledger behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import asyncpg

from deploy.verify import runs
from deploy.verify.differences import Findings
from deploy.verify.pay import Claim, Classified, asked
from deploy.verify.pools import Name, clip, rounded, share_out, total
from deploy.verify.runs import Gathered, Run

COMPONENTS = ("merit", "lump-sum", "bonus")
_POOL_OF = {"merit": "merit", "lump-sum": "merit", "bonus": "bonus"}
_ZERO = Fraction(0)


@dataclass(frozen=True)
class Version:
    """A classification version as calibration published it, with where it places the person."""

    classified: Classified
    placement: Mapping[str, str]
    published_at: object


Versions = Mapping[tuple[str, str, str], Mapping[int, Version]]
"""By provider, cycle and employee, then by version."""


@dataclass(frozen=True)
class _Outcome:
    """A run as recomputed: who asked what, at which factor, and what each gets."""

    run: Run
    people: Mapping[str, Gathered]
    claims: Mapping[Name, Claim]
    scales: Mapping[str, Fraction]
    amounts: Mapping[Name, int]


async def check(compensation: asyncpg.Connection, versions: Versions, findings: Findings) -> None:
    await _check_copies(compensation, versions, findings)
    decided: dict[tuple[str, str], _Outcome] = {}
    for run in await runs.read(compensation):
        outcome = await _check_run(compensation, run, versions, findings)
        if run.approved_at is not None:
            decided[run.provider, run.id] = outcome
    await _check_awards(compensation, decided, versions, findings)


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


async def _check_copies(compensation: asyncpg.Connection, versions: Versions, findings: Findings) -> None:
    rows = await compensation.fetch("SELECT * FROM classifications")
    known = {(row["provider_id"], row["cycle"], row["employee"]): row for row in rows}
    for key in sorted(versions.keys() - known.keys()):
        findings.missing("compensation", "classifications", key, f"version {max(versions[key])}")
    for key, row in sorted(known.items()):
        if key not in versions:
            findings.unexpected("compensation", "classifications", key, f"version {row['version']}")
            continue
        newest = versions[key][max(versions[key])]
        told = _columns(newest.classified) | {
            "client": newest.placement["clients"],
            "line_of_business": newest.placement["lines_of_business"],
            "site": newest.placement["sites"],
        }
        findings.compare("compensation", "classifications", key, row, told)


def _columns(classified: Classified) -> dict[str, object]:
    return {
        "version": classified.version,
        "scorecard_version": classified.scorecard_version,
        "band": classified.band,
        "score": classified.score,
        "grade": classified.grade,
        "unit": classified.unit,
    }


async def _check_run(compensation: asyncpg.Connection, run: Run, versions: Versions, findings: Findings) -> _Outcome:
    """Gather, claims, pools, rounding; each compared with what the run kept of it."""
    rows = await compensation.fetch(
        "SELECT employee, inputs, status, left_out, lines FROM run_subjects WHERE provider_id = $1 AND run = $2",
        run.provider,
        run.id,
    )
    people = {row["employee"]: runs.gathered(row["inputs"]) for row in rows}
    await _check_pay(compensation, run, people, findings)
    _check_gathered(run, people, versions, findings)
    terms = replace(run.terms, teams=_teams(run, people, versions))
    key = (run.provider, run.id)
    findings.compare("compensation", "runs", key, {"teams": run.terms.teams}, {"teams": terms.teams})
    claims: dict[Name, Claim] = {}
    for row in rows:
        gathered = people[row["employee"]]
        found = asked(terms, gathered.person, gathered.kept)
        claims |= {(row["employee"], component): claim for component, claim in found.claims.items()}
        kept = {"status": row["status"], "left_out": sorted(reason["code"] for reason in row["left_out"])}
        status = "eligible" if found.claims else "ineligible"
        computed = {"status": status, "left_out": sorted(found.codes)}
        findings.compare("compensation", "run_subjects", (*key, row["employee"]), kept, computed)
    scales, amounts = await _check_pools(compensation, run, claims, findings)
    await _check_items(compensation, run, claims, amounts, {row["employee"]: row["lines"] for row in rows}, findings)
    return _Outcome(replace(run, terms=terms), people, claims, scales, amounts)


async def _check_pay(
    compensation: asyncpg.Connection, run: Run, people: Mapping[str, Gathered], findings: Findings
) -> None:
    """What the run took for somebody's pay is that pay, unless it was changed since."""
    rows = await compensation.fetch(
        "SELECT employee, entries, changed_at FROM pay WHERE provider_id = $1 AND employee = ANY($2)",
        run.provider,
        list(people),
    )
    until = run.approved_at or run.computed_at
    for row in rows:
        if row["changed_at"] <= until:
            key = (run.provider, run.id, row["employee"])
            kept = {"pay": people[row["employee"]].pay}
            findings.compare("compensation", "run_subjects", key, kept, {"pay": row["entries"]})


def _check_gathered(run: Run, people: Mapping[str, Gathered], versions: Versions, findings: Findings) -> None:
    """Everybody in scope takes part, with a classification as it was published."""
    for (provider, cycle, employee), known in sorted(versions.items()):
        if (provider, cycle) != (run.provider, run.cycle):
            continue
        key = (run.provider, run.id, employee)
        gathered = people.get(employee)
        if gathered is None or gathered.version is None:
            then = _then(run, known)
            if then is not None and _in_scope(run, then):
                findings.missing("compensation", "run_subjects", key)
        elif gathered.version not in known:
            findings.unexpected("compensation", "run_subjects", key, f"classification {gathered.version}")
        elif gathered.kept is not None:
            told = _columns(known[gathered.version].classified)
            findings.compare("compensation", "run_subjects", key, _columns(gathered.kept), told)


def _then(run: Run, known: Mapping[int, Version]) -> Version | None:
    """The version that stood when the run was decided."""
    until = run.approved_at or run.computed_at
    earlier = [number for number, version in known.items() if version.published_at <= until]  # type: ignore[operator]
    return known[max(earlier)] if earlier else None


def _in_scope(run: Run, version: Version) -> bool:
    return all(not wanted or version.placement[field] in wanted for field, wanted in run.scope.items())


def _teams(run: Run, people: Mapping[str, Gathered], versions: Versions) -> dict[str, Fraction]:
    """The mean score of every unit, over all of the cycle that are classified and have a score."""
    scores: dict[str, list[Fraction]] = defaultdict(list)
    for (provider, cycle, employee), known in sorted(versions.items()):
        if (provider, cycle) != (run.provider, run.cycle):
            continue
        gathered = people.get(employee)
        version = known.get(gathered.version) if gathered and gathered.version else _then(run, known)
        if version is not None and version.classified.score is not None:
            scores[version.classified.unit].append(version.classified.score)
    return {unit: sum(found, _ZERO) / len(found) for unit, found in scores.items()}


async def _check_pools(
    compensation: asyncpg.Connection, run: Run, claims: Mapping[Name, Claim], findings: Findings
) -> tuple[dict[str, Fraction], dict[Name, int]]:
    rows = await compensation.fetch("SELECT * FROM run_pools WHERE provider_id = $1 AND run = $2", run.provider, run.id)
    scales: dict[str, Fraction] = {}
    amounts: dict[Name, int] = {}
    for row in rows:
        findings.count("pools")
        own = {name: claim for name, claim in claims.items() if _POOL_OF[name[1]] == row["pool"]}
        amount = run.pools[row["pool"]]
        pool = share_out(own, amount, run.terms.plan.rounding, run.scale_up)
        awarded = sum(pool.amounts.values())
        stored = dict(row.items()) | {
            name: None if row[name] is None else Fraction(row[name])
            for name in ("requested", "minimum", "maximum", "scale")
        }
        computed: dict[str, object] = {
            "amount": amount,
            "requested": pool.requested,
            "minimum": pool.minimum,
            "maximum": pool.maximum,
            "scale": pool.scale,
            "binds": pool.binds,
            "awarded": awarded,
            "undistributed": amount - awarded,
        }
        key = (run.provider, run.id, row["pool"])
        findings.compare("compensation", "run_pools", key, stored, computed)
        if pool.binds and pool.scale is not None and pool.scale != 1:
            # What was found is proved as well: at this factor the claims come to the pool.
            come_to = total(list(own.values()), pool.scale)
            findings.compare("compensation", "run_pools", key, {"sum at scale": come_to}, {"sum at scale": amount})
        scales[row["pool"]] = pool.scale if pool.scale is not None else Fraction(1)
        amounts |= pool.amounts
    if {row["pool"] for row in rows} != set(run.pools):
        findings.missing("compensation", "run_pools", (run.provider, run.id), sorted(run.pools))
    return scales, amounts


async def _check_items(
    compensation: asyncpg.Connection,
    run: Run,
    claims: Mapping[Name, Claim],
    amounts: Mapping[Name, int],
    lines: Mapping[str, Sequence[Mapping[str, str]]],
    findings: Findings,
) -> None:
    """Each claim and amount, and that the lines that explain it add up to it."""
    rows = await compensation.fetch("SELECT * FROM run_items WHERE provider_id = $1 AND run = $2", run.provider, run.id)
    kept = {(row["employee"], row["component"]): row for row in rows}
    for name in sorted(claims.keys() - kept.keys()):
        findings.missing("compensation", "run_items", (run.provider, run.id, *name), amounts[name])
    for name in sorted(kept.keys() - claims.keys()):
        findings.unexpected("compensation", "run_items", (run.provider, run.id, *name), kept[name]["amount"])
    for name in sorted(kept.keys() & claims.keys()):
        row, claim = kept[name], claims[name]
        explained = _explained(name[1], [*lines[name[0]], *row["closing"]])
        stored: dict[str, object] = {
            "raw": Fraction(row["raw"]),
            "minimum": Fraction(row["minimum"]),
            "maximum": Fraction(row["maximum"]),
            "amount": row["amount"],
            "lines": explained,
        }
        computed: dict[str, object] = {
            "raw": claim.raw,
            "minimum": claim.low,
            "maximum": claim.high,
            "amount": amounts.get(name),
            "lines": amounts.get(name),
        }
        findings.compare("compensation", "run_items", (run.provider, run.id, *name), stored, computed)


def _explained(component: str, lines: Iterable[Mapping[str, str]]) -> Fraction:
    return sum((Fraction(line["change"]) for line in lines if line["component"] == component), _ZERO)


async def _check_awards(
    compensation: asyncpg.Connection,
    decided: Mapping[tuple[str, str], _Outcome],
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


@dataclass(frozen=True)
class _Kept:
    awards: Mapping[Award, asyncpg.Record]
    amounts: Mapping[Award, Mapping[str, int]]
    entries: Mapping[Award, Sequence[asyncpg.Record]]
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
        for row in await compensation.fetch("SELECT * FROM ledger_entries ORDER BY component, sequence, posted_at"):
            entries[key(row)].append(row)
        recoveries: dict[Award, list[asyncpg.Record]] = defaultdict(list)
        for row in await compensation.fetch("SELECT * FROM recoveries ORDER BY classification_version, proposed_at"):
            recoveries[key(row)].append(row)
        lines = {
            (key(row), row["classification_version"]): row["lines"]
            for row in await compensation.fetch("SELECT * FROM adjustments")
        }
        awards = {key(row): row for row in await compensation.fetch("SELECT * FROM awards")}
        return _Kept(awards, amounts, entries, recoveries, lines)


def _check_award(
    outcome: _Outcome, employee: str, known: Mapping[int, Version], kept: _Kept, findings: Findings
) -> None:
    """From the run's amounts through every later classification to the award as it must be now."""
    run = outcome.run
    key = (run.provider, employee, run.plan, run.cycle)
    first = outcome.people[employee].version or 0
    amounts = {first: {part: outcome.amounts[employee, part] for part in _parts(outcome, employee)}}
    for number in sorted(version for version in known if version > first):
        amounts[number] = _amounts_now(outcome, employee, known[number].classified)
        lines = kept.lines.get((key, number))
        if lines is None:
            findings.missing("compensation", "adjustments", (*key, number))
            continue
        stored = {part: _explained(part, lines) for part in amounts[number]}
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


def _parts(outcome: _Outcome, employee: str) -> list[str]:
    return [part for part in COMPONENTS if (employee, part) in outcome.claims]


def _amounts_now(outcome: _Outcome, employee: str, classified: Classified) -> dict[str, int]:
    """Under the run's rules, reference and factors; a claim that is what it was in the run gets what it got there."""
    found = asked(outcome.run.terms, outcome.people[employee].person, classified)
    amounts = dict.fromkeys(_parts(outcome, employee), 0)
    for part, claim in found.claims.items():
        if outcome.claims.get((employee, part)) == claim:
            amounts[part] = outcome.amounts[employee, part]
        else:
            exact = clip(claim, outcome.scales[_POOL_OF[part]])
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
