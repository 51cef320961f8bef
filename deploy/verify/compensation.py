"""Compensation: the claims, pools and amounts of every run; awards and ledger follow from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import asyncpg

from deploy.verify import awards, runs
from deploy.verify.classified import Version, Versions, check_copies, columns
from deploy.verify.differences import Findings
from deploy.verify.outcomes import POOL_OF, Outcome, explained
from deploy.verify.pay import Claim, asked
from deploy.verify.pools import Name, share_out, total
from deploy.verify.runs import Gathered, Run

_ZERO = Fraction(0)


async def check(compensation: asyncpg.Connection, versions: Versions, findings: Findings) -> None:
    await check_copies(compensation, versions, findings)
    decided: dict[tuple[str, str], Outcome] = {}
    for run in await runs.read(compensation):
        outcome = await _check_run(compensation, run, versions, findings)
        if run.approved_at is not None:
            decided[run.provider, run.id] = outcome
    await awards.check(compensation, decided, versions, findings)


async def _check_run(compensation: asyncpg.Connection, run: Run, versions: Versions, findings: Findings) -> Outcome:
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
    return Outcome(replace(run, terms=terms), people, claims, scales, amounts)


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
            told = columns(known[gathered.version].classified)
            findings.compare("compensation", "run_subjects", key, columns(gathered.kept), told)


def _then(run: Run, known: Mapping[int, Version]) -> Version | None:
    """The version that stood when the run was decided."""
    until = run.approved_at or run.computed_at
    earlier = [number for number, version in known.items() if version.published_at <= until]
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
        own = {name: claim for name, claim in claims.items() if POOL_OF[name[1]] == row["pool"]}
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
        lines_say = explained(name[1], [*lines[name[0]], *row["closing"]])
        stored: dict[str, object] = {
            "raw": Fraction(row["raw"]),
            "minimum": Fraction(row["minimum"]),
            "maximum": Fraction(row["maximum"]),
            "amount": row["amount"],
            "lines": lines_say,
        }
        computed: dict[str, object] = {
            "raw": claim.raw,
            "minimum": claim.low,
            "maximum": claim.high,
            "amount": amounts.get(name),
            "lines": amounts.get(name),
        }
        findings.compare("compensation", "run_items", (run.provider, run.id, *name), stored, computed)
