"""The parts of a row that are documents: typed values to JSON text and back."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from pydantic import TypeAdapter

from services.scoring.model.cycles import BandCut
from services.scoring.model.people import Placement
from services.scoring.model.scorecards import GateResult, PartAttainment, Scorecard, SegmentResult
from services.scoring.model.templates import Gate, MetricRule, Part

BANDS = TypeAdapter(tuple[BandCut, ...])
PARTS = TypeAdapter(tuple[Part, ...])
GATES = TypeAdapter(tuple[Gate, ...])
METRICS = TypeAdapter(Mapping[str, MetricRule])
ATTAINMENTS = TypeAdapter(tuple[PartAttainment, ...])
GATE_RESULTS = TypeAdapter(tuple[GateResult, ...])
SEGMENTS = TypeAdapter(tuple[SegmentResult, ...])
PLACEMENT = TypeAdapter(Placement)


def digest(result: Scorecard) -> bytes:
    """Equal exactly when nothing that others are told has changed: score, coverage, band, attainments, placement."""
    told = (str(result.score), str(result.coverage), str(result.proposed_band))
    text = "\n".join(told).encode()
    return sha256(
        b"\n".join((text, ATTAINMENTS.dump_json(result.parts), PLACEMENT.dump_json(result.placement)))
    ).digest()
