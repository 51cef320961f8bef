"""What a run came to, as recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from deploy.verify.pay import Claim
from deploy.verify.pools import Name
from deploy.verify.runs import Gathered, Run

COMPONENTS = ("merit", "lump-sum", "bonus")
POOL_OF = {"merit": "merit", "lump-sum": "merit", "bonus": "bonus"}
_ZERO = Fraction(0)


@dataclass(frozen=True)
class Outcome:
    """A run as recomputed: who asked what, at which factor, and what each gets."""

    run: Run
    people: Mapping[str, Gathered]
    claims: Mapping[Name, Claim]
    scales: Mapping[str, Fraction]
    amounts: Mapping[Name, int]


def explained(component: str, lines: Iterable[Mapping[str, str]]) -> Fraction:
    return sum((Fraction(line["change"]) for line in lines if line["component"] == component), _ZERO)
