"""How the demo's provider measures: metrics, role templates, bands. Written once, as the API takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from deploy.local.demo.world import PROGRAMS, ROLES

BANDS: tuple[tuple[str, str], ...] = (
    ("insufficient", "0"),
    ("developing", "75"),
    ("meets", "92"),
    ("exceeds", "110"),
    ("outstanding", "122"),
)
"""Lowest first, with the score from which each counts; a manager's rating n names the n-th."""
BAND_NAMES = tuple(band for band, _ in BANDS)
EFFECTIVE = date(2025, 1, 1)
COVERAGE_MINIMUM, WEIGHT_MAXIMUM = "0.70", "0.50"

Fields = Mapping[str, object]
Points = tuple[tuple[str, str], ...]


def _metric(name: str, system: str, unit: str, aggregation: str, minimum: str, *, lower: bool = False) -> Fields:
    return {
        "name": name,
        "owner": "Workforce Management",
        "source_system": system,
        "unit": unit,
        "direction": "lower-is-better" if lower else "higher-is-better",
        "aggregation": aggregation,
        "precision": 2,
        "missing_data": "exclude-and-reweight",
        "minimum_volume": minimum,
        "developmental_only": False,
    }


METRICS: Mapping[str, Fields] = {
    "aht": _metric("Average handle time", "contact-centre", "seconds", "ratio", "20", lower=True),
    "csat": _metric("Customer satisfaction", "surveys", "share", "ratio", "10"),
    "fcr": _metric("First-contact resolution", "contact-centre", "share", "ratio", "20"),
    "qa": _metric("Quality evaluation", "quality", "points", "mean", "2"),
    "adherence": _metric("Schedule adherence", "scheduling", "share", "ratio", "450"),
    "sales": _metric("Sales a day", "orders", "sales", "mean", "2"),
}

_CURVES: Mapping[str, Points] = {
    "aht": (("500", "50"), ("372", "100"), ("310", "135")),
    "csat": (("0.60", "40"), ("0.80", "100"), ("0.94", "140")),
    "fcr": (("0.55", "40"), ("0.74", "100"), ("0.88", "140")),
    "qa": (("68", "40"), ("84", "100"), ("96", "140")),
    "adherence": (("0.84", "40"), ("0.92", "100"), ("0.98", "130")),
    "sales": (("1", "30"), ("5", "100"), ("9", "160")),
    "manager": (("1", "30"), ("2", "70"), ("3", "100"), ("4", "118"), ("5", "135")),
    "peer": (("1", "40"), ("3", "100"), ("5", "130")),
}
"""Attainment in percent, in the direction in which performance improves."""
_SERVICE = {"aht": "20", "csat": "20", "fcr": "15", "qa": "20", "adherence": "10", "manager": "10", "peer": "5"}
_SELLING = {"sales": "35", "csat": "15", "fcr": "10", "aht": "10", "qa": "10", "adherence": "5", "manager": "15"}
# A specialist is expected to resolve, a senior agent to be good, more than to be quick.
_SHIFTS: Mapping[str, Mapping[str, str]] = {
    "agent": {},
    "senior-agent": {"aht": "15", "qa": "25"},
    "specialist": {"aht": "10", "fcr": "25"},
}
FEEDBACK = ("manager", "peer")


def _part(name: str, weight: str) -> Fields:
    curve = {"points": [list(point) for point in _CURVES[name]], "shape": "linear", "accelerator": None, "cap": None}
    if name in FEEDBACK:
        return {"part": f"{name}-view", "kind": "feedback", "category": name, "weight": weight, "curve": curve}
    if name == "aht":
        # Beyond the last point each second saved earns as much again, up to a limit.
        curve |= {"accelerator": "0.5", "cap": "150"}
    return {"part": name, "kind": "metric", "metric": name, "weight": weight, "curve": curve}


def _version(weights: Mapping[str, str]) -> Fields:
    return {
        "effective_from": EFFECTIVE.isoformat(),
        "coverage_minimum": COVERAGE_MINIMUM,
        "weight_maximum": WEIGHT_MAXIMUM,
        "parts": [_part(name, weight) for name, weight in weights.items()],
        "gates": [{"metric": "adherence", "at_least": "0.87", "band_cap": "meets"}],
    }


def _template(name: str, title: str, **selector: str) -> Fields:
    wanted = {"role": None, "client": None, "line_of_business": None} | dict(selector)
    return {"template": name, "name": title, "selector": wanted}


def templates() -> list[tuple[Fields, Fields]]:
    """Each template with its one version: one a role, and one for each line of business that sells."""
    found = [
        (_template(f"{role}-service", f"Service, {role}", role=role), _version(_SERVICE | dict(_SHIFTS[role])))
        for role in ROLES
    ]
    for program in PROGRAMS:
        if program.sells:
            name, line = program.line_of_business, program.line_of_business
            selector = {"client": program.client, "line_of_business": line}
            found.append((_template(name, f"Sales, {name}", **selector), _version(_SELLING)))
    return found
