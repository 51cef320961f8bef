"""What the platform says at the end, beside what the generator expected of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256

from deploy.local.demo import awarding, money
from deploy.local.demo.client import Body
from deploy.local.demo.context import Course
from deploy.local.demo.money import CURRENCIES
from deploy.local.demo.notices import delivered, expected_mails, expected_webhooks, mail_domain, read_inboxes
from deploy.local.demo.policy import Act
from deploy.local.demo.scoring import score_text
from deploy.local.demo.world import CYCLE

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Check:
    part: str
    what: str
    found: Value
    expected: Value

    @property
    def holds(self) -> bool:
        return self.found == self.expected


@dataclass
class Findings:
    checks: list[Check] = field(default_factory=list)
    distributions: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: dict[str, Body] = field(default_factory=dict)
    statement: Body = field(default_factory=dict)
    mails: list[str] = field(default_factory=list)
    """Subjects of the mail to the person of the statement, oldest first."""
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def hold(self) -> bool:
        return all(check.holds for check in self.checks)

    @property
    def digest(self) -> str:
        return digest(f"{name} {value}" for name, value in self.digests.items())

    def add(self, part: str, rows: Iterable[tuple[str, Value, Value]]) -> None:
        self.checks.extend(Check(part, what, found, expected) for what, found, expected in rows)


def digest(lines: Iterable[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


async def gather(course: Course) -> Findings:
    findings = Findings()
    findings.add("events", _events(course))
    findings.add("people", await _people(course))
    await _bands(course, findings)
    await _awards(course, findings)
    await _notices(course, findings)
    await _statement(course, findings)
    return findings


def _events(course: Course) -> Iterator[tuple[str, Value, Value]]:
    expected, journal = course.expected, course.journal
    yield "accepted", journal.accepted(), expected.accepted
    yield "  of these corrections and voids in time", journal.accepted("amendments"), len(expected.amendments)
    yield "  of these corrections after publication", journal.accepted("late"), len(expected.late)
    yield "duplicate", journal.duplicates(), expected.duplicates
    refused = journal.refused()
    for code in sorted({*refused, *expected.refused}):
        yield f"refused: {code}", refused[code], expected.refused.get(code, 0)


async def _people(course: Course) -> list[tuple[str, Value, Value]]:
    api, hr, expected, world = course.api, course.desk.administrator, course.expected, course.world
    found = [("people", await api.rows("ingest", "/v1/employees", hr), len(world.workers) + len(world.partners))]
    for category in ("manager", "peer"):
        said = await api.rows("ingest", "/v1/feedback", hr, cycle=CYCLE, category=category)
        found.append((f"ratings: {category}", said, expected.count_ratings(category)))
    return list(found)


async def _bands(course: Course, findings: Findings) -> None:
    expected, acts = course.expected, course.expected.acts
    hr = course.desk.administrator
    cycle = (await course.api.get("scoring", f"/v1/cycles/{CYCLE}", hr)).body
    findings.add("bands", [("scorecards at the freeze", cycle["scorecards"], len(expected.scored))])
    rows = [row async for row in course.api.pages("calibration", "/v1/classifications", hr, cycle=CYCLE)]
    first = [row if row["version"] == 1 else await _first_version(course, row["employee"]) for row in rows]
    for name, said, wanted in (
        ("before calibration", "proposed_band", expected.bands(expected.scored)),
        ("after calibration", "band", expected.bands(expected.calibrated)),
    ):
        seen = Counter(row[said] or "unrated" for row in first)
        findings.distributions[name] = {band: seen[band] for band in wanted}
        findings.add(name, [(band, seen[band], count) for band, count in wanted.items()])
    confirmed = sum(row["band"] == row["proposed_band"] for row in first)
    findings.add(
        "decisions",
        [
            ("confirmed", confirmed, acts[Act.CONFIRM]),
            ("changed", len(first) - confirmed, acts[Act.CHANGE] + acts["approved"]),
        ],
    )
    _classifications(course, findings, rows)


async def _first_version(course: Course, employee: str) -> Body:
    """What was published of somebody whose classification was revised since."""
    path = f"/v1/classifications/{employee}"
    versions = course.api.pages("calibration", path, course.desk.administrator, cycle=CYCLE)
    return next(iter([row async for row in versions if row["version"] == 1]))


def _classifications(course: Course, findings: Findings, rows: Sequence[Body]) -> None:
    found = sorted(_line(row["employee"], row["band"], row["version"], row["score"]) for row in rows)
    wanted = sorted(_line(employee, *said) for employee, said in course.expected.published.items())
    findings.digests["bands"] = digest(found)
    findings.add(
        "classifications",
        [
            ("published", len(rows), len(wanted)),
            ("revised", sum(row["version"] == 2 for row in rows), len(course.expected.late)),
            ("people whose band, version and score are as computed here", len({*found} & {*wanted}), len(wanted)),
            ("digest of bands", findings.digests["bands"], digest(wanted)),
        ],
    )


def _line(employee: str, band: str | None, version: int, score: str | None) -> str:
    exact = score_text(Decimal(score)) if score else ""
    return f"{employee} {band or 'unrated'} {version} {exact}"


async def _awards(course: Course, findings: Findings) -> None:
    analyst, expected = course.desk.analyst, course.expected
    computed = awarding.runs(expected)
    for place, currency in enumerate(CURRENCIES):
        name = money.run_of(currency)
        run = (await course.api.get("compensation", f"/v1/runs/{name}", analyst)).body
        findings.runs[currency] = run
        awards = [row async for row in course.api.pages("compensation", f"/v1/runs/{name}/awards", analyst)]
        kinds = Counter(row["status"] for row in awards)
        people, paid = len(expected.in_scope(currency)), len(expected.eligible(currency))
        merit = next(pool for pool in run["pools"] if pool["pool"] == "merit")
        findings.add(
            f"awards in {currency}",
            [
                ("state of the run", run["state"], "approved"),
                ("eligible", kinds["eligible"], paid),
                ("ineligible", kinds["ineligible"], people - paid),
                ("the merit pool binds", merit["binds"], place == 0),
                *_pools(run, computed[currency]),
            ],
        )
    await _ledger(course, findings, computed)


def _pools(run: Body, computed: awarding.Run) -> Iterator[tuple[str, Value, Value]]:
    for pool in run["pools"]:
        name = pool["pool"]
        closes = pool["closes"] and pool["awarded"] + pool["undistributed"] == pool["amount"]
        yield f"minor units of the {name} pool", pool["amount"], computed.pools[name][0]
        yield f"  awarded of the {name} pool", pool["awarded"], computed.awarded(name)
        yield "  awarded + left = amount", closes, True


async def _ledger(course: Course, findings: Findings, computed: Mapping[str, awarding.Run]) -> None:
    api, analyst, late = course.api, course.desk.analyst, course.expected.late
    entries = [row async for row in api.pages("compensation", "/v1/ledger", analyst, cycle=CYCLE)]
    proposed = [row async for row in api.pages("compensation", "/v1/recoveries", analyst, state="proposed")]
    deltas = {row["employee"] for row in entries if row["cause"].startswith("classification/")}
    verified = (await api.get("compensation", "/v1/ledger/verification", analyst)).body
    standing: Counter[tuple[str, str, str]] = Counter()
    for row in entries:
        standing[row["employee"], row["component"], row["run"]] += row["amount"]
    lines = [
        f"{employee} {component} {amount} {run}" for (employee, component, run), amount in standing.items() if amount
    ]
    lines += [f"{row['employee']} {row['component']} {row['amount']} {row['run']} proposed" for row in proposed]
    findings.digests["awards"] = digest(sorted(lines))
    findings.add(
        "later differences",
        [
            ("people paid a difference", _named(deltas), _named(one.worker.id for one in late if one.good)),
            ("people with a proposed recovery", _named({row["employee"] for row in proposed}),
             _named(one.worker.id for one in late if not one.good)),
            ("ledger chains hold", verified["holds"], True),
            ("digest of awards", findings.digests["awards"], digest(sorted(awarding.lines(computed)))),
        ],
    )  # fmt: skip


def _named(people: Iterable[str]) -> str:
    return " ".join(sorted(people)) or "nobody"


async def _notices(course: Course, findings: Findings) -> None:
    expected, world = course.expected, course.world
    found, wanted = await read_inboxes(course), sorted(expected.notices())
    kinds, wanted_kinds = Counter(kind for kind, _, _ in found), Counter(kind for kind, _, _ in wanted)
    rows: list[tuple[str, Value, Value]] = [
        (f"in inboxes: {kind}", kinds[kind], wanted_kinds[kind]) for kind in sorted({*kinds, *wanted_kinds})
    ]
    mails, webhooks = expected_mails(expected), expected_webhooks(expected)
    caught = (await course.api.ask("GET", "mailbox", "/count", {}, params={"domain": mail_domain(world)})).body
    came = (await course.api.ask("GET", "webhooks", "/count", {}, params={"path": f"/{world.provider}"})).body
    findings.digests["notices"] = digest(f"{cause} {recipient}" for _, cause, recipient in found)
    findings.add(
        "notices",
        [
            *rows,
            ("e-mails delivered", await delivered(course, "email"), mails),
            ("  different ones at the SMTP catcher", caught["distinct_messages"], mails),
            ("webhooks delivered", await delivered(course, "webhook"), webhooks),
            ("  different ones at the receiver", came["distinct_webhook_ids"], webhooks),
            ("digest of notices", findings.digests["notices"], digest(f"{cause} {one}" for _, cause, one in wanted)),
        ],
    )


async def _statement(course: Course, findings: Findings) -> None:
    """The statement of somebody whose pay a late correction raised, down to the events."""
    late = next(one for one in course.expected.late if one.good)
    employee, source = late.worker.id, late.posting.reading
    path = f"/v1/statements/{employee}"
    found = await course.api.get("compensation", path, course.desk.person(employee), cycle=CYCLE, leaves="true")
    (award,) = found.body["awards"]
    items = [item for item in award["leaves"]["items"] if item["kind"] == "metric"]
    findings.statement = {"employee": employee, **award, "events": items}
    address = {"to": f"{employee}@{mail_domain(course.world)}"}
    mails = (await course.api.ask("GET", "mailbox", "/messages", {}, params=address)).body["items"]
    findings.mails = list(dict.fromkeys(mail["subject"] for mail in reversed(mails)))
    changed = next((item for item in items if source and item["event"] == source.root), None)
    findings.add(
        f"statement of {employee}",
        [
            ("events behind the score", len(items), course.expected.leaves[employee]),
            ("the late correction among them", changed is not None and changed["revision"] == 1, True),
        ],
    )
