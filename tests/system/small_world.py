"""A small provider's quarter, told to the pipeline through its APIs, with everything that makes recomputing hard.

Two clients, two currencies, movers, leave, a newcomer, a leaver, corrections, voids, a second template version, gates,
feedback, a change that two people decide, pools that bind, late events accepted and revised upwards and downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random

from pydantic import JsonValue

from tests.system.pipeline import Caller, Json, Pipeline

PROVIDER = "acme"
CYCLE = "2026-q1"
FIRST, LAST = date(2026, 1, 1), date(2026, 3, 31)
NOW = datetime(2026, 4, 1, 8, 0, tzinfo=UTC)
BANDS = ("low", "fair", "good", "top")
AGENTS = tuple(f"e-{number:02d}" for number in range(1, 13))
MANAGERS = ("m-1", "m-2")
NORTHWIND, HARBOR = ("northwind", "care", "manila", "Asia/Manila"), ("harbor", "cards", "krakow", "Europe/Warsaw")
WORDS = "said in so many words"


def _assignment(
    place: tuple[str, str, str, str], role: str, manager: str | None, first: date, last: date | None = None
) -> Json:
    client, line, site, zone = place
    return {
        "valid_from": first.isoformat(),
        "valid_to": last.isoformat() if last else None,
        "role": role,
        "grade": {"agent": "g1", "senior": "g2", "lead": "g5"}[role],
        "unit": f"team-{client}",
        "manager": manager,
        "client": client,
        "line_of_business": line,
        "site": site,
        "time_zone": zone,
    }


def people() -> list[Json]:
    hired = date(2024, 5, 1)
    found: list[Json] = []
    for number, agent in enumerate(AGENTS):
        place, manager = (NORTHWIND, "m-1") if number < 6 else (HARBOR, "m-2")
        role = "senior" if number % 4 == 3 else "agent"
        stints = [_assignment(place, role, manager, hired)]
        absences: list[JsonValue] = []
        if agent == "e-03":
            stints = [
                _assignment(NORTHWIND, "agent", "m-1", hired, date(2026, 2, 9)),
                _assignment(HARBOR, "agent", "m-2", date(2026, 2, 10)),
            ]
        if agent == "e-05":
            absences = [
                {"starts_on": "2026-02-02", "ends_on": "2026-02-20"},
                {"starts_on": "2026-03-30", "ends_on": "2026-04-03"},
            ]
        if agent == "e-07":
            stints = [_assignment(HARBOR, "agent", "m-2", date(2026, 2, 16))]
        if agent == "e-12":
            stints = [_assignment(HARBOR, "senior", "m-2", hired, date(2026, 2, 28))]
        found.append(_person(agent, stints, absences))
    for manager, place in zip(MANAGERS, (NORTHWIND, HARBOR), strict=True):
        found.append(_person(manager, [_assignment(place, "lead", None, hired)], []))
    return found


def _person(name: str, stints: Sequence[Json], absences: list[JsonValue]) -> Json:
    return {
        "id": name,
        "display_name": name.upper(),
        "country": "PH",
        "locale": "en-PH",
        "assignments": list(stints),
        "absences": absences,
    }


METRICS: dict[str, Json] = {
    "aht": {"direction": "lower-is-better", "aggregation": "ratio", "minimum_volume": 20},
    "csat": {"direction": "higher-is-better", "aggregation": "ratio", "minimum_volume": 5},
    "quality": {"direction": "higher-is-better", "aggregation": "mean", "minimum_volume": 1},
    "sales": {"direction": "higher-is-better", "aggregation": "sum", "missing_data": "zero"},
    "compliance": {"direction": "higher-is-better", "aggregation": "ratio", "minimum_volume": 3},
}


def _part(name: str, weight: str, points: list[JsonValue], **more: JsonValue) -> Json:
    curve: Json = {"points": points, "shape": "linear", "accelerator": None, "cap": None}
    feedback = "category" in more
    for key in ("shape", "accelerator", "cap"):
        if key in more:
            curve[key] = more.pop(key)
    kind: Json = {"kind": "feedback"} if feedback else {"kind": "metric", "metric": name}
    return {"part": name, "weight": weight, "curve": curve, **kind, **more}


_AHT = _part("aht", "35", [["420", "50"], ["360", "100"], ["300", "150"]])
_CSAT = _part("csat", "35", [["0.70", "50"], ["0.85", "100"], ["0.95", "120"]], accelerator="400", cap="130")
_QUALITY = _part("quality", "20", [["60", "40"], ["80", "90"], ["95", "140"]], shape="stepped")
_VIEW = _part("view", "10", [["1", "20"], ["2", "60"], ["4", "140"]], category="manager")
_PEERS = _part("peers", "10", [["1", "20"], ["4", "140"]], category="peer")
_SALES = _part("sales", "55", [["10", "50"], ["60", "120"]])
_GATE: Json = {"metric": "compliance", "at_least": "0.95", "at_most": None, "band_cap": "fair"}
TEMPLATES: tuple[tuple[str, Json, tuple[tuple[str, list[Json], list[Json]], ...]], ...] = (
    (
        "agents",
        {"role": "agent", "client": None, "line_of_business": None},
        (
            ("2025-01-01", [_AHT, _CSAT, _QUALITY, _VIEW], [_GATE]),
            ("2026-02-15", [_AHT, _CSAT, _QUALITY, _PEERS], [_GATE]),
        ),
    ),
    (
        "seniors",
        {"role": "senior", "client": None, "line_of_business": None},
        (("2025-01-01", [_AHT, _CSAT, _QUALITY, _VIEW], []),),
    ),
    (
        "harbor-seniors",
        {"role": "senior", "client": "harbor", "line_of_business": None},
        (
            (
                "2026-01-15",
                [_SALES, _CSAT, _VIEW],
                [{"metric": "aht", "at_least": None, "at_most": "400", "band_cap": "good"}],
            ),
        ),
    ),
)


def events(seed: int = 7) -> dict[str, list[Json]]:
    """Observations by source, in the order in which they are sent."""
    random = Random(seed)
    found: dict[str, list[Json]] = {"northwind-acd": [], "harbor-acd": []}
    number = 0
    day = FIRST
    while day <= LAST:
        for place, agent in enumerate(AGENTS):
            if day.weekday() not in (0, 3) or agent == "e-11":
                continue
            source = _source_of(agent, day)
            if source is None:
                continue
            good = 1 + (place - 5) / 40
            for metric in METRICS:
                number += 1
                body = _measured(metric, good, random)
                if metric == "compliance" and agent == "e-09":
                    body["numerator"] = 6
                hour = random.randint(2, 9)
                at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
                found[source].append(
                    {"id": f"k-{number}", "employee": agent, "metric": metric, "occurred_at": at.isoformat(), **body}
                )
        day += timedelta(1)
    return found


def _source_of(agent: str, day: date) -> str | None:
    if agent == "e-03":
        return "northwind-acd" if day < date(2026, 2, 10) else "harbor-acd"
    if (agent == "e-07" and day < date(2026, 2, 16)) or (agent == "e-12" and day > date(2026, 2, 28)):
        return None
    if agent == "e-05" and date(2026, 2, 2) <= day <= date(2026, 2, 20):
        return None
    return "northwind-acd" if AGENTS.index(agent) < 6 else "harbor-acd"


def _measured(metric: str, good: float, random: Random) -> Json:
    contacts = random.randint(8, 20)
    match metric:
        case "aht":
            return {"numerator": round(contacts * random.gauss(340 / good, 20)), "denominator": contacts}
        case "csat":
            return {"numerator": round(contacts * min(1.0, random.gauss(0.84 * good, 0.05))), "denominator": contacts}
        case "compliance":
            return {"numerator": 10, "denominator": 10}
        case "quality":
            return {"value": round(random.gauss(80 * good, 6), 1)}
    return {"value": random.randint(0, 4)}


class SmallWorld:
    """Steps of the quarter, to be taken in the order of `told`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.hr = pipeline.caller("hr_admin", provider=PROVIDER, employee="h-1")
        self.facilitator = pipeline.caller("facilitator", provider=PROVIDER, employee="h-2")
        self.payer = pipeline.caller("compensation_admin", provider=PROVIDER, employee="c-1")
        self.approver = pipeline.caller("compensation_admin", provider=PROVIDER, employee="c-2")
        self.sources: dict[str, Caller] = {}

    async def told(self) -> None:
        await self.set_up()
        await self.work()
        await self.calibrate()
        await self.pay()
        await self.revise()
        assert await self.pipeline.dead_letters() == []

    async def set_up(self) -> None:
        operator = self.pipeline.caller("operator")
        await operator.post("ingest", "/providers", {"id": PROVIDER, "name": "Acme"}, expect=201)
        for client, line, _, _ in (NORTHWIND, HARBOR):
            await self.hr.put("ingest", f"/clients/{client}", {"name": client, "lines_of_business": [line]}, expect=201)
            source: Json = {"name": f"{client} ACD", "client": client, "lines_of_business": [line]}
            await self.hr.put("ingest", f"/sources/{client}-acd", source, expect=201)
            key = await self.hr.post("ingest", f"/sources/{client}-acd/keys", {}, expect=201)
            self.sources[f"{client}-acd"] = self.pipeline.source(str(key["secret"]))
        for name, rule in METRICS.items():
            whole: Json = {"name": name, "owner": "wfm", "source_system": "acd", "unit": "unit", "precision": 1, **rule}
            await self.hr.put("ingest", f"/metrics/{name}", whole, expect=201)
        loaded = await self.hr.post("ingest", "/employees", list[JsonValue](people()))
        assert loaded["created"] == len(AGENTS) + len(MANAGERS), loaded
        contacts: list[JsonValue] = [{"employee": each, "email": f"{each}@example.com"} for each in AGENTS]
        contacts.append({"employee": "h-1", "email": "h-1@example.com", "roles": ["hr_admin"]})
        await self.hr.post("notifications", "/contacts", {"items": contacts})
        await self.pipeline.pump()
        cycle: Json = {
            "cycle": CYCLE,
            "name": "Q1",
            "starts_on": FIRST.isoformat(),
            "ends_on": LAST.isoformat(),
            "bands": [
                {"band": band, "cut_score": cut} for band, cut in zip(BANDS, ("0", "70", "90", "105"), strict=True)
            ],
        }
        await self.hr.post("scoring", "/cycles", cycle, expect=201)
        for template, selector, versions in TEMPLATES:
            head: Json = {"template": template, "name": template, "selector": selector}
            await self.hr.post("scoring", "/templates", head, expect=201)
            for number, (begins, parts, gates) in enumerate(versions, 1):
                draft: Json = {
                    "effective_from": begins,
                    "coverage_minimum": "0.70",
                    "weight_maximum": "0.60",
                    "parts": list(parts),
                    "gates": list(gates),
                }
                path = f"/templates/{template}/versions"
                await self.hr.post("scoring", path, draft, expect=201)
                await self.hr.post("scoring", f"{path}/{number}/publish", key=f"{template}-{number}")
        await self.pipeline.pump()

    async def send(self, source: str, *bodies: Json) -> None:
        answer = await self.sources[source].post("ingest", "/kpi-events", list[JsonValue](bodies), expect=202)
        assert not answer["rejected"], answer

    async def work(self) -> None:
        """The quarter's events, with corrections that arrive with, after and again."""
        for source, found in events().items():
            half = len(found) // 2
            await self.send(source, *found[:half])
            await self.pipeline.pump()
            await self.send(source, *found[half:])
            await self.send(source, *found[-20:])
            fixes: list[Json] = []
            for place, each in enumerate(found[5:60:7]):
                if "value" in each:
                    fixes.append({"id": f"fix-{each['id']}", "corrects": each["id"], "value": 77.5})
                elif place % 3:
                    fixes.append({"id": f"fix-{each['id']}", "corrects": each["id"], "numerator": 3, "denominator": 9})
                else:
                    fixes.append({"id": f"void-{each['id']}", "voids": each["id"]})
            again = next(fix for fix in fixes if "corrects" in fix)
            twice: Json = {**again, "id": f"again-{again['id']}", **({"value": 81} if "value" in again else {})}
            await self.send(source, *fixes, twice)
        await self._rate()
        await self.pipeline.pump()

    async def _rate(self) -> None:
        ratings: list[tuple[str, str, str, JsonValue]] = []
        for place, agent in enumerate(AGENTS):
            manager = "m-1" if place < 6 and agent != "e-03" else "m-2"
            if agent not in ("e-06", "e-12"):
                ratings.append((manager, "manager", agent, 2 + place % 3))
        ratings += [(rater, "peer", "e-01", rating) for rater, rating in (("e-02", 3), ("e-04", 4), ("e-06", 2.5))]
        ratings += [(rater, "peer", "e-02", 4) for rater in ("e-01", "e-04")]
        ratings.append(("e-02", "peer", "e-01", 4))
        for rater, category, employee, rating in ratings:
            role = "manager" if category == "manager" else "employee"
            who = self.pipeline.caller(role, provider=PROVIDER, employee=rater)
            body: Json = {
                "cycle": CYCLE,
                "employee": employee,
                "category": category,
                "rating": rating,
                "comment": "seen at work",
            }
            await who.post("ingest", "/feedback", body, expect=202)

    async def calibrate(self) -> None:
        """Freeze, decide on everybody, publish."""
        await self.hr.post("scoring", f"/cycles/{CYCLE}/freeze", key="freeze", expect=202)
        await self.pipeline.pump()
        frozen = await self.hr.get("scoring", f"/cycles/{CYCLE}")
        assert (frozen["state"], frozen["scorecards"]) == ("frozen", len(AGENTS) + len(MANAGERS)), frozen
        session: Json = {
            "id": "s-1",
            "name": "Q1 everywhere",
            "cycle": CYCLE,
            "scope": {"units": [], "clients": [], "lines_of_business": [], "grades": []},
            "owner": "h-1",
            "facilitator": "h-2",
            "participants": list(MANAGERS),
            "deadline": (NOW + timedelta(days=20)).isoformat(),
        }
        await self.hr.post("calibration", "/sessions", session, expect=201)
        await self.hr.post("calibration", "/sessions/s-1/open", {})
        listed = await self.hr.get("calibration", "/sessions/s-1/subjects?limit=100")
        subjects = listed["items"]
        assert isinstance(subjects, list)
        scored = {str(each["employee"]): each["proposed_band"] for each in subjects if isinstance(each, dict)}
        for employee, band in scored.items():
            await self._decide(employee, None if band is None else str(band))
        await self.facilitator.post("calibration", "/sessions/s-1/lock", {})
        await self.facilitator.post("calibration", "/sessions/s-1/publish", {}, key="publish")
        await self.pipeline.pump()

    async def _decide(self, employee: str, scored: str | None) -> None:
        path = f"/sessions/s-1/subjects/{employee}"
        to: str | None = scored
        if employee in ("e-02", "e-08"):
            to = "top" if scored in ("low", "fair") else "low"
        if employee == "e-06":
            to = None
        if employee == "e-05":
            to = BANDS[max(0, BANDS.index(scored or "fair") - 1)]
        if to == scored:
            await self.facilitator.put("calibration", f"{path}/decision", {"kind": "confirm"}, seen=1)
            return
        change: Json = {"kind": "change", "band": to, "rationale": {"code": "context-factor", "text": WORDS}}
        subject = await self.facilitator.put("calibration", f"{path}/decision", change, seen=1)
        if subject["state"] != "awaiting-approval":
            return
        answer: Json = {"approve": employee != "e-08", "reason": WORDS}
        judged = await self.hr.post("calibration", f"{path}/approval", answer, seen=2)
        if judged["state"] == "undecided":
            await self.facilitator.put("calibration", f"{path}/decision", {"kind": "confirm"}, seen=3)

    async def pay(self) -> None:
        """Two plans and budgets in two currencies; one pool binds, the other does not."""
        entries: list[JsonValue] = [{"employee": each, "entries": _pay(each)} for each in (*AGENTS, *MANAGERS)]
        await self.payer.post("compensation", "/pay", {"employees": entries})
        for grade, middle in (("g1", 1), ("g2", 2)):
            for currency, unit in (("EUR", 2_400_000), ("JPY", 3_100_000)):
                body: Json = {
                    "grade": grade,
                    "currency": currency,
                    "minimum": unit * middle * 8 // 10,
                    "midpoint": unit * middle,
                    "maximum": unit * middle * 12 // 10,
                    "valid_from": "2024-01-01",
                }
                await self.payer.put("compensation", f"/pay-ranges/{grade}-{currency.lower()}", body)
        rates: list[JsonValue] = [
            {"on": "2026-03-01", "source": "JPY", "target": "EUR", "rate": "0.0061"},
            {"on": "2026-01-01", "source": "JPY", "target": "EUR", "rate": "0.0063"},
            {"on": "2026-01-01", "source": "EUR", "target": "JPY", "rate": "161.7"},
        ]
        await self.payer.post("compensation", "/exchange-rates", {"rates": rates})
        runs = (
            ("harbor", "EUR", 120_000, 300_000, "additive"),
            ("northwind", "JPY", 99_999_999, 40_001, "multiplicative"),
        )
        for client, currency, merit, bonus, kind in runs:
            await self.payer.put("compensation", f"/plans/{client}", _plan(currency, kind))
            plan = await self.payer.get("compensation", f"/plans/{client}")
            seen = int(str(plan["version"]))
            await self.payer.post("compensation", f"/plans/{client}/publish", key=client, seen=seen, expect=201)
            scope: Json = {"clients": [client], "units": [], "lines_of_business": [], "sites": []}
            budget: Json = {
                "cycle": CYCLE,
                "plan": client,
                "currency": currency,
                "merit_pool": merit,
                "bonus_pool": bonus,
                "scope": scope,
                "scale_up": False,
            }
            await self.payer.put("compensation", f"/budgets/{client}", budget)
            asked: Json = {"id": f"run-{client}", "cycle": CYCLE, "plan": client, "budget": client}
            await self.payer.post("compensation", "/runs", asked, key=client, expect=202)
            await self.pipeline.pump()
            run = await self.payer.get("compensation", f"/runs/run-{client}")
            assert run["state"] == "computed", run
            path = f"/runs/run-{client}/approve"
            await self.approver.post("compensation", path, key=client, seen=int(str(run["version"])))
        await self.pipeline.pump()

    async def revise(self) -> None:
        """Late events: one lifts, two lower, one of these is lifted again after it was paid back, one waits."""
        by_agent = {
            agent: [e for found in events().values() for e in found if e["employee"] == agent] for agent in AGENTS
        }
        await self._late("e-02", _source_of("e-02", LAST) or "", by_agent["e-02"], 250, "up")
        await self._late("e-04", "northwind-acd", by_agent["e-04"], 700, "down")
        await self._late("e-08", "harbor-acd", by_agent["e-08"], 700, "down")
        await self._late("e-10", "harbor-acd", by_agent["e-10"], 300, "up")
        await self._accept("e-02", "top")
        await self._accept("e-04", "low")
        await self._accept("e-08", "low")
        recoveries = await self.payer.get("compensation", "/recoveries?state=proposed")
        items = recoveries["items"]
        assert isinstance(items, list)
        mine = [each for each in items if isinstance(each, dict) and each["employee"] == "e-08"]
        assert mine and {each["employee"] for each in items if isinstance(each, dict)} == {"e-04", "e-08"}, items
        for each in mine:
            agreed: Json = {"reason": "agreed with the employee"}
            path = f"/recoveries/{each['id']}/accept"
            await self.approver.post("compensation", path, agreed, key=str(each["id"]))
        await self._late("e-08", "harbor-acd", by_agent["e-08"], 260, "up again")
        await self._accept("e-08", "good")

    async def _late(self, agent: str, source: str, known: Sequence[Json], handle_time: int, name: str) -> None:
        late: list[Json] = []
        for each in known:
            if each["metric"] in ("aht", "csat") and len(late) < 12:
                label = f"late-{name.replace(' ', '-')}-{each['id']}"
                share = 10 if handle_time < 400 else 2
                value: Json = {"numerator": handle_time * 10} if each["metric"] == "aht" else {"numerator": share}
                late.append({"id": label, "corrects": each["id"], **value, "denominator": 10})
        await self.send(source, *late)
        await self.pipeline.pump()

    async def _accept(self, agent: str, band: str) -> None:
        card = await self.hr.get("scoring", f"/cycles/{CYCLE}/scorecards/{agent}")
        assert card["status"] == "late", card
        path = f"/cycles/{CYCLE}/scorecards/{agent}/acceptances"
        accepted: Json = {"version": card["version"], "reason": "the volume was real"}
        await self.hr.post("scoring", path, accepted, key=f"{agent}-{card['version']}", expect=201)
        await self.pipeline.pump()
        revision = await self.hr.get("calibration", f"/revisions/{agent}?cycle={CYCLE}")
        body: Json = {
            "cycle": CYCLE,
            "kind": "revise",
            "band": band,
            "rationale": {"code": "data-error", "text": "the late volume was real"},
        }
        path = f"/revisions/{agent}/decision"
        seen = int(str(revision["version"]))
        decided = await self.facilitator.post("calibration", path, body, seen=seen)
        if decided["state"] == "awaiting-approval":
            answer: Json = {"cycle": CYCLE, "approve": True, "reason": WORDS}
            await self.hr.post("calibration", f"/revisions/{agent}/approval", answer, seen=seen + 1)
        await self.pipeline.pump()


def _pay(employee: str) -> list[JsonValue]:
    """In yen at Northwind, in euro at Harbor; one is paid above the range, one changed, one came over with yen."""
    number = int(employee[-2:]) if employee.startswith("e") else 9
    yen = employee in AGENTS[:6]
    base = (3_000_000 if yen else 2_350_000) + number * 31_001
    if employee in ("e-10", "e-04"):
        base *= 2
    if employee == "e-02":
        base = 3_690_000
    entry: Json = {
        "valid_from": "2024-01-01",
        "valid_to": None,
        "base": base,
        "currency": "JPY" if yen else "EUR",
        "fte": "0.8" if number % 5 == 0 else "1",
        "target_bonus_percent": "10",
    }
    if employee == "e-06":
        return []
    if employee == "e-09":
        return [entry | {"valid_to": "2026-02-14"}, entry | {"valid_from": "2026-02-15", "base": base + 100_003}]
    return [entry]


def _plan(currency: str, kind: str) -> Json:
    zones = ("below-minimum", "first-quartile", "second-quartile", "third-quartile", "fourth-quartile", "above-maximum")
    rows: list[JsonValue] = []
    for place, band in enumerate((*BANDS, "unrated")):
        level = 0 if band == "unrated" else place
        cells: Json = {}
        for step, zone in enumerate(zones):
            default = max(0, 3 * level + 2 - step) / 2
            minimum = "0.5" if level == 3 and step < 2 else "0"
            cells[zone] = {"minimum": minimum, "default": str(default), "maximum": str(default * 2)}
        rows.append({"band": band, "cells": cells})
    curve: Json = {
        "kind": "linear",
        "points": [
            {"score": "60", "percent": "30"},
            {"score": "100", "percent": "100"},
            {"score": "120", "percent": "170"},
        ],
        "accelerator": None,
    }
    faster: Json = {**curve, "accelerator": {"slope": "2", "hard_cap": "250"}}
    weights: Json = {"team_weight": "0.3", "individual_weight": "0.7"} if kind == "additive" else {}
    bonus: Json = {
        "type": kind,
        **weights,
        "team_curve": curve,
        "individual_curve": faster,
        "cap_percent": "180",
        "gate_band": "fair",
    }
    return {
        "name": "Annual",
        "currency": currency,
        "bands": list(BANDS),
        "rounding": "ROUND_HALF_EVEN",
        "lump_sum_above_maximum": currency == "JPY",
        "absences": "leave-out",
        "merit": rows,
        "bonus": bonus,
    }
