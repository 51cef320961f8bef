"""What a template version must be, and which one holds for whom on a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta
from decimal import Decimal

from services.scoring.model.cycles import Period
from services.scoring.model.templates import (
    Aggregation,
    MetricRule,
    MissingData,
    PartKind,
    Selector,
    Template,
    TemplateVersion,
)
from services.scoring.rules import curves
from services.scoring.rules.rounding import exact_sum
from shared.field_problems import FieldProblem

ALL = 100
OPEN_CATEGORIES = frozenset({"self", "manager"})
ANONYMOUS_MINIMUM = Decimal(3)
"""Raters of a category whose members must not be told apart; with fewer the part has no data."""


def draft_problems(version: TemplateVersion) -> Iterator[FieldProblem]:
    """What is wrong with a version whatever its metrics are."""
    if not 0 <= version.coverage_minimum <= 1:
        yield FieldProblem("/coverage_minimum", "out-of-range", "a share from 0 to 1")
    if not 0 < version.weight_maximum <= 1:
        yield FieldProblem("/weight_maximum", "out-of-range", "a share above 0 and up to 1")
    if not version.parts:
        yield FieldProblem("/parts", "missing", "a scorecard has at least one part")
    names: set[str] = set()
    sources: set[tuple[PartKind, str]] = set()
    for index, part in enumerate(version.parts):
        at = f"/parts/{index}"
        if part.part in names:
            yield FieldProblem(f"{at}/part", "repeated", "another part has this name")
        if (part.kind, part.source) in sources:
            yield FieldProblem(f"{at}/{_SOURCE_FIELD[part.kind]}", "repeated", "another part already weighs this")
        if part.weight <= 0:
            yield FieldProblem(f"{at}/weight", "not-positive", "a part weighs more than 0; a condition is a gate")
        names.add(part.part)
        sources.add((part.kind, part.source))
        direction = True if part.kind is PartKind.FEEDBACK else None
        for found in curves.problems(part.curve, higher_is_better=direction):
            yield FieldProblem(f"{at}/curve{found.pointer}", found.code, found.detail)
    total = exact_sum(part.weight for part in version.parts)
    if version.parts and total != ALL:
        yield FieldProblem("/parts", "weights-total", f"the weights total {total}, not exactly 100")
    for index, gate in enumerate(version.gates):
        if (gate.at_least is None) == (gate.at_most is None):
            yield FieldProblem(f"/gates/{index}", "one-limit", "a gate has either at_least or at_most")


_SOURCE_FIELD = {PartKind.METRIC: "metric", PartKind.FEEDBACK: "category"}


def publication_problems(
    version: TemplateVersion, metrics: Mapping[str, MetricRule], developmental: AbstractSet[str]
) -> Iterator[FieldProblem]:
    """What is wrong with a version in view of the metrics as they are defined at its publication."""
    for index, part in enumerate(version.parts):
        if part.kind is PartKind.FEEDBACK:
            continue
        rule = metrics.get(part.source)
        yield from _metric_problems(f"/parts/{index}/metric", part.source, metrics, developmental)
        if rule is not None:
            for found in curves.problems(part.curve, higher_is_better=rule.higher_is_better):
                yield FieldProblem(f"/parts/{index}/curve{found.pointer}", found.code, found.detail)
    for index, gate in enumerate(version.gates):
        yield from _metric_problems(f"/gates/{index}/metric", gate.metric, metrics, developmental)


def _metric_problems(
    pointer: str, metric: str, metrics: Mapping[str, MetricRule], developmental: AbstractSet[str]
) -> Iterator[FieldProblem]:
    if metric not in metrics:
        yield FieldProblem(pointer, "unknown-metric", "no such metric is defined")
    elif metric in developmental:
        yield FieldProblem(pointer, "developmental-metric", "a developmental metric may not move a band or pay")


def feedback_rule(category: str) -> MetricRule:
    minimum = Decimal(1) if category in OPEN_CATEGORIES else ANONYMOUS_MINIMUM
    return MetricRule(True, Aggregation.MEAN, MissingData.EXCLUDE_AND_REWEIGHT, minimum)


def specificity(selector: Selector) -> tuple[int, bool, bool, bool]:
    """How closely a selector describes someone, the greater the closer.

    The number of fields it names decides; at the same number client counts before line of business before role.
    """
    client, line, role = (each is not None for each in (selector.client, selector.line_of_business, selector.role))
    return (client + line + role, client, line, role)


class TemplateBook:
    """All templates with published versions, asked for one place and a stretch of days at a time."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._templates = sorted(templates, key=lambda each: specificity(each.selector), reverse=True)
        self._matching: dict[tuple[str, str, str], list[Template]] = {}

    def in_force(
        self, role: str, client: str, line_of_business: str, first: date, last: date
    ) -> tuple[TemplateVersion | None, date]:
        """The version that holds on `first`, and how far up to `last` none begins that could take its place.

        Of the templates that match and have a version by then the most specific holds, in its highest version that
        has begun.
        """
        place = (role, client, line_of_business)
        matching = self._matching.get(place)
        if matching is None:
            matching = [each for each in self._templates if _matches(each.selector, *place)]
            self._matching[place] = matching
        begins = [version.effective_from for each in matching for version in each.versions]
        until = min((begin - timedelta(days=1) for begin in begins if first < begin <= last), default=last)
        for template in matching:
            begun = [version for version in template.versions if version.effective_from <= first]
            if begun:
                return max(begun, key=lambda version: version.version), until
        return None, until


def _matches(selector: Selector, role: str, client: str, line_of_business: str) -> bool:
    return (
        selector.role in (None, role)
        and selector.client in (None, client)
        and selector.line_of_business in (None, line_of_business)
    )


def unknown_gate_bands(templates: Sequence[Template], period: Period) -> Iterator[FieldProblem]:
    """Gates that may hold on a day of the period and cap at a band it does not have."""
    known = {cut.band for cut in period.bands}
    for template in templates:
        begun = [version.version for version in template.versions if version.effective_from <= period.starts_on]
        first = max(begun, default=0)
        for version in template.versions:
            if version.version < first or version.effective_from > period.ends_on:
                continue
            for gate in version.gates:
                if gate.band_cap not in known:
                    where = f"template {version.template}, version {version.version}, gate on {gate.metric}"
                    yield FieldProblem("/bands", "gate-band-unknown", f"{where}: caps at {gate.band_cap}")
