"""From score to band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

from services.scoring.model.cycles import BandCut
from shared.field_problems import FieldProblem


def problems(bands: Sequence[BandCut]) -> Iterator[FieldProblem]:
    if len(bands) < 2:
        yield FieldProblem("/bands", "too-few-bands", "at least two bands, lowest first")
    names: set[str] = set()
    for index, each in enumerate(bands):
        if each.band in names:
            yield FieldProblem(f"/bands/{index}/band", "repeated", "another band has this name")
        names.add(each.band)
    for index, (lower, upper) in enumerate(pairwise(bands), 1):
        if upper.cut_score <= lower.cut_score:
            yield FieldProblem(f"/bands/{index}/cut_score", "not-rising", "each cut is above the one before")


def band_of(score: Decimal, bands: Sequence[BandCut]) -> str:
    """A band holds the scores from its cut (inclusive) to the next (exclusive); the last is open above.

    What lies below the first cut belongs to the first band: there is no lower one.
    """
    found = bands[0].band
    for each in bands:
        if each.cut_score <= score:
            found = each.band
    return found


def capped(band: str, caps: Sequence[str], bands: Sequence[BandCut]) -> str:
    """The lowest of `band` and the `caps`."""
    order = [each.band for each in bands]
    return min((band, *caps), key=order.index)
