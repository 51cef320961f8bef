"""The merit matrix: position in range, the cell it leads to, and what makes a matrix unfair."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from services.compensation.model.award import PayRange
from services.compensation.model.plan import UNRATED, Cell, MatrixRow, Plan, Zone
from shared.field_problems import FieldProblem

_QUARTILES = (Zone.FIRST, Zone.SECOND, Zone.THIRD, Zone.FOURTH)
_COLUMNS = ("minimum", "default", "maximum")


def compa_ratio(base: int, pay_range: PayRange) -> Fraction:
    """Full-time base pay over the midpoint: hours worked do not move it."""
    return Fraction(base, pay_range.midpoint)


def penetration(base: int, pay_range: PayRange) -> Fraction:
    """0 at the minimum, 1 at the maximum; below 0 and above 1 outside the range."""
    return Fraction(base - pay_range.minimum, pay_range.maximum - pay_range.minimum)


def zone_of(base: int, pay_range: PayRange) -> Zone:
    share = penetration(base, pay_range)
    if share < 0:
        return Zone.BELOW_MINIMUM
    if share > 1:
        return Zone.ABOVE_MAXIMUM
    return _QUARTILES[min(int(share * 4), 3)]


def cell_of(plan: Plan, band: str | None, zone: Zone) -> Cell:
    """The cell for a band, or of the unrated row for nobody's band."""
    row = next(row for row in plan.merit if row.band == (UNRATED if band is None else band))
    return row.cells[zone]


def problems(plan: Plan) -> Iterator[FieldProblem]:
    """Missing rows and zones, and cells that pay more for a higher position or less for a better band."""
    expected = [*plan.bands, UNRATED]
    found = [row.band for row in plan.merit]
    if len(set(plan.bands)) != len(plan.bands) or UNRATED in plan.bands:
        yield FieldProblem("/bands", "not-distinct", f"bands are distinct, and none is called {UNRATED}")
    for index, band in enumerate(found):
        if band not in expected or band in found[:index]:
            yield FieldProblem(
                f"/merit/{index}/band", "unexpected", "one row for each band of the plan, and one for unrated"
            )
    for band in expected:
        if band not in found:
            yield FieldProblem("/merit", "row-missing", f"there is no row for {band}")
    for index, row in enumerate(plan.merit):
        yield from _row_problems(row, f"/merit/{index}/cells")
    yield from _band_problems(plan)


def _row_problems(row: MatrixRow, pointer: str) -> Iterator[FieldProblem]:
    for zone in Zone:
        cell = row.cells.get(zone)
        if cell is None:
            yield FieldProblem(pointer, "zone-missing", f"there is no cell for {zone}")
        elif not cell.minimum <= cell.default <= cell.maximum:
            yield FieldProblem(f"{pointer}/{zone}", "disordered", "minimum, default and maximum rise in this order")
    present = [zone for zone in Zone if zone in row.cells]
    for left, right in pairwise(present):
        for column in _COLUMNS:
            if getattr(row.cells[right], column) > getattr(row.cells[left], column):
                detail = "a higher position in the range never gets a higher percentage"
                yield FieldProblem(f"{pointer}/{right}/{column}", "rises-along-range", detail)


def _band_problems(plan: Plan) -> Iterator[FieldProblem]:
    """The unrated row is no band and takes no place in their order."""
    placed = {row.band: (index, row) for index, row in enumerate(plan.merit)}
    ordered = [placed[band] for band in plan.bands if band in placed]
    for (_, lower), (index, higher) in pairwise(ordered):
        for zone in Zone:
            if zone not in lower.cells or zone not in higher.cells:
                continue
            for column in _COLUMNS:
                if getattr(higher.cells[zone], column) < getattr(lower.cells[zone], column):
                    detail = f"a better band never gets a lower percentage than {lower.band}"
                    yield FieldProblem(f"/merit/{index}/cells/{zone}/{column}", "falls-along-bands", detail)
