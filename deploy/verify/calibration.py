"""Calibration: its copies, where every subject stands, and each published classification."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import asyncpg

from deploy.verify.bands import Act, Outcome, by_rating, replay
from deploy.verify.differences import Findings
from deploy.verify.rulebook import Rulebook

Subject = tuple[str, str, str]
"""Provider, cycle and employee."""
_PLACE = ("role", "grade", "unit", "manager", "client", "line_of_business", "site")


@dataclass(frozen=True)
class _Scored:
    """Scorecard versions as scoring keeps them, by person and version."""

    versions: Mapping[Subject, Mapping[int, asyncpg.Record]]

    @staticmethod
    async def read(scoring: asyncpg.Connection) -> _Scored:
        found: dict[Subject, dict[int, asyncpg.Record]] = defaultdict(dict)
        for row in await scoring.fetch("""
            SELECT provider_id, cycle, employee, version, status, score, coverage, proposed_band, parts, placement,
                   as_of
            FROM scorecard_versions
        """):
            found[row["provider_id"], row["cycle"], row["employee"]][row["version"]] = row
        return _Scored(found)

    def newest(self, key: Subject, *statuses: str) -> asyncpg.Record | None:
        rows = [row for row in self.versions.get(key, {}).values() if row["status"] in statuses]
        return max(rows, key=lambda row: int(row["version"]), default=None)


async def check(
    calibration: asyncpg.Connection,
    scoring: asyncpg.Connection,
    ingest: asyncpg.Connection,
    rulebook: Rulebook,
    findings: Findings,
) -> None:
    scored = await _Scored.read(scoring)
    await _check_cards(calibration, scored, findings)
    ratings = await _check_ratings(calibration, ingest, findings)
    bands = {
        (provider, kept.cycle.id): [band for band, _ in kept.cycle.bands]
        for provider, cycles in rulebook.cycles.items()
        for kept in cycles
    }
    outcomes = await _check_subjects(calibration, scored, bands, findings)
    await _check_classifications(calibration, scored, bands, ratings, outcomes, findings)


async def _check_cards(calibration: asyncpg.Connection, scored: _Scored, findings: Findings) -> None:
    """The copies: of what has effect the newest, of what is late the newest."""
    for table, statuses in (("scorecards", ("current", "accepted")), ("late_scorecards", ("late",))):
        rows = await calibration.fetch(f"SELECT * FROM {table}")  # noqa: S608 - own tables
        copies = {(row["provider_id"], row["cycle"], row["employee"]): row for row in rows}
        for key in sorted(scored.versions.keys() | copies.keys()):
            newest = scored.newest(key, *statuses)
            if newest is None:
                if key in copies:
                    findings.unexpected("calibration", table, key, f"version {copies[key]['version']}")
                continue
            if key not in copies:
                findings.missing("calibration", table, key, f"version {newest['version']}")
                continue
            told = {name: newest[name] for name in ("version", "score", "proposed_band", "as_of")}
            if table == "scorecards":
                told |= {"coverage": newest["coverage"], "parts": newest["parts"], **newest["placement"]}
                told["counted"] = scored.newest(key, "current") is not None
            findings.compare("calibration", table, key, copies[key], told)


Rated = Mapping[Subject, Sequence[asyncpg.Record]]


async def _check_ratings(calibration: asyncpg.Connection, ingest: asyncpg.Connection, findings: Findings) -> Rated:
    """The managers' last words, which calibration keeps beside the scorecards."""
    given = await ingest.fetch("""
        SELECT DISTINCT ON (provider_id, cycle_id, employee_id, rater_id)
               provider_id, cycle_id AS cycle, employee_id AS employee, rater_id AS rater, revision, rating,
               submitted_at, feedback_id::text AS feedback
        FROM feedback WHERE category = 'manager'
        ORDER BY provider_id, cycle_id, employee_id, rater_id, revision DESC
    """)
    names = ("provider_id", "cycle", "employee", "rater")
    stored = {
        tuple(row[name] for name in names): row for row in await calibration.fetch("SELECT * FROM manager_ratings")
    }
    told = {tuple(row[name] for name in names): row for row in given}
    for key in sorted(told.keys() - stored.keys()):
        findings.missing("calibration", "manager_ratings", key, told[key]["rating"])
    for key in sorted(stored.keys() - told.keys()):
        findings.unexpected("calibration", "manager_ratings", key, stored[key]["rating"])
    for key in sorted(stored.keys() & told.keys()):
        columns = {name: told[key][name] for name in ("revision", "rating", "submitted_at", "feedback")}
        findings.compare("calibration", "manager_ratings", key, stored[key], columns)
    found: dict[Subject, list[asyncpg.Record]] = defaultdict(list)
    for row in given:
        found[row["provider_id"], row["cycle"], row["employee"]].append(row)
    return found


async def _check_subjects(
    calibration: asyncpg.Connection,
    scored: _Scored,
    bands: Mapping[tuple[str, str], Sequence[str]],
    findings: Findings,
) -> Mapping[Subject, tuple[str, Outcome]]:
    """Replays every subject's history; of the subjects of published sessions, what came of it."""
    acts: dict[tuple[str, str, str], list[asyncpg.Record]] = defaultdict(list)
    for row in await calibration.fetch("SELECT * FROM decisions ORDER BY provider_id, session, employee, version"):
        acts[row["provider_id"], row["session"], row["employee"]].append(row)
    revisions: dict[Subject, list[asyncpg.Record]] = defaultdict(list)
    for row in await calibration.fetch("SELECT * FROM revisions ORDER BY provider_id, cycle, employee, number"):
        revisions[row["provider_id"], row["cycle"], row["employee"]].append(row)
    outcomes: dict[Subject, tuple[str, Outcome]] = {}
    for row in await calibration.fetch("""
        SELECT subjects.*, sessions.state AS session_state FROM subjects JOIN sessions USING (provider_id, session)
        ORDER BY provider_id, session, employee
    """):
        key = (row["provider_id"], row["cycle"], row["employee"])
        case = (row["provider_id"], row["session"], row["employee"])
        outcome = _replayed(row, acts.get(case, []), scored, key, bands[key[:2]])
        _check_acts(case, acts.get(case, []), outcome, findings)
        _check_subject(case, row, outcome, scored, key, findings)
        if row["session_state"] == "published" and not row["released"]:
            _check_revisions(key, revisions.pop(key, []), outcome, findings)
            outcomes[key] = (row["session"], outcome)
    for key in sorted(revisions):
        findings.unexpected("calibration", "revisions", key)
    return outcomes


def _replayed(
    row: asyncpg.Record, acts: Sequence[asyncpg.Record], scored: _Scored, key: Subject, bands: Sequence[str]
) -> Outcome:
    """The scorecard at the opening is the one of the first act, or the one before it where it took up a newer one."""
    opening = acts[0]["scorecard_version"] if acts else row["scorecard_version"]
    versions = scored.versions.get(key, {})
    if acts and acts[0]["act"] == "scorecard":
        earlier = [
            version
            for version, each in versions.items()
            if version < opening and each["status"] in ("current", "accepted")
        ]
        opening = max(earlier, default=opening)
    return replay(
        [
            Act(
                each["version"],
                each["stage"],
                each["act"],
                each["actor"],
                each["actor_employee"],
                each["after_band"],
                each["scorecard_version"],
            )
            for each in acts
        ],
        opening,
        {version: each["proposed_band"] for version, each in versions.items()},
        bands,
        row["session_state"] == "published",
    )


def _check_acts(case: Subject, acts: Sequence[asyncpg.Record], outcome: Outcome, findings: Findings) -> None:
    for version, fault in outcome.faults:
        findings.unexpected("calibration", "decisions", (*case, version), fault)
    for place, each in enumerate(acts):
        findings.count("decisions")
        after = outcome.after[each["version"]]
        told: dict[str, object] = {
            "version": place + 2,
            "after_state": after.state,
            "after_band": after.band,
            "scorecard_version": after.scorecard,
        }
        findings.compare("calibration", "decisions", (*case, each["version"]), each, told)


def _check_subject(
    case: Subject, row: asyncpg.Record, outcome: Outcome, scored: _Scored, key: Subject, findings: Findings
) -> None:
    subject = outcome.subject
    card = scored.versions.get(key, {}).get(subject.scorecard)
    if card is None:
        findings.unexpected("calibration", "subjects", case, f"scorecard version {subject.scorecard}")
        return
    told: dict[str, object] = {
        "version": 1 + len(outcome.after),
        "state": subject.state,
        "band": subject.band,
        "decided": outcome.decided,
        "scorecard_version": subject.scorecard,
        "score": card["score"],
        "coverage": card["coverage"],
        "proposed_band": card["proposed_band"],
    }
    findings.compare("calibration", "subjects", case, row, told)


def _check_revisions(key: Subject, rows: Sequence[asyncpg.Record], outcome: Outcome, findings: Findings) -> None:
    if len(rows) != len(outcome.revisions):
        findings.compare("calibration", "revisions", key, {"count": len(rows)}, {"count": len(outcome.revisions)})
    for place, (row, (case, decided)) in enumerate(zip(rows, outcome.revisions, strict=False)):
        told: dict[str, object] = {
            "number": place + 1,
            "state": case.state,
            "band": case.band,
            "decided": decided,
            "scorecard_version": case.scorecard,
        }
        findings.compare("calibration", "revisions", (*key, row["number"]), row, told)


async def _check_classifications(
    calibration: asyncpg.Connection,
    scored: _Scored,
    bands: Mapping[tuple[str, str], Sequence[str]],
    ratings: Rated,
    outcomes: Mapping[Subject, tuple[str, Outcome]],
    findings: Findings,
) -> None:
    stored: dict[Subject, dict[int, asyncpg.Record]] = defaultdict(dict)
    for row in await calibration.fetch("SELECT * FROM classifications ORDER BY provider_id, cycle, employee, version"):
        key = (row["provider_id"], row["cycle"], row["employee"])
        if row["version"] in stored[key]:
            findings.unexpected("calibration", "classifications", (*key, row["version"]), "published twice")
        stored[key][row["version"]] = row
    for key in sorted(stored.keys() | outcomes.keys()):
        session, outcome = outcomes.get(key, ("", None))
        published = outcome.published if outcome else ()
        for place, (decision, band, card) in enumerate(published):
            named = (*key, place + 1)
            found = stored.get(key, {}).pop(place + 1, None)
            if found is None:
                findings.missing("calibration", "classifications", named, band)
                continue
            findings.count("classifications")
            told: dict[str, object] = {
                "supersedes": place or None,
                "session": session,
                "decision": decision,
                "band": band,
                "scorecard_version": card,
            }
            version = scored.versions.get(key, {}).get(card)
            if version is not None:
                told |= {name: version[name] for name in ("score", "proposed_band", "parts")}
                told |= {name: version["placement"][name] for name in _PLACE}
                rating = _rating(ratings.get(key, ()), version["placement"]["manager"])
                told |= {"manager_rating": rating, "manager_band": by_rating(bands[key[:2]], rating)}
            findings.compare("calibration", "classifications", named, found, told)
        for number in sorted(stored.get(key, {})):
            findings.unexpected("calibration", "classifications", (*key, number), stored[key][number]["band"])


def _rating(given: Sequence[asyncpg.Record], manager: str | None) -> Decimal | None:
    """Of the manager on the reference date; failing that, the last one given, and at one instant the first by id."""
    own = [row for row in given if row["rater"] == manager]
    ordered = sorted(given, key=lambda row: str(row["rater"]))
    last = max(ordered, key=lambda row: row["submitted_at"].timestamp(), default=None)
    if own:
        return Decimal(own[0]["rating"])
    return None if last is None else Decimal(last["rating"])
