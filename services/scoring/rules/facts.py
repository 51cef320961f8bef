"""Which of an event and its corrections counts, and what a change of that does to the sums of a day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from services.scoring.model.facts import Delta, Fact


def effective(versions: Iterable[Fact]) -> Fact | None:
    """The values of one event that count: those of its highest revision, none when that is a void.

    Arrival plays no part. Two revisions of one number never come from ingest; were there any, the greater id counts.
    """
    newest = max(versions, key=lambda fact: (fact.revision, fact.event), default=None)
    return None if newest is None or newest.void else newest


def deltas(known: Iterable[Fact], added: Iterable[Fact]) -> Iterator[Delta]:
    """What the added facts change, given all facts that were known of the same events."""
    before: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in known:
        before[fact.employee, fact.root].append(fact)
    new: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in added:
        new[fact.employee, fact.root].append(fact)
    for event, facts in new.items():
        counted = effective(before[event]) if event in before else None
        counts = effective([*before[event], *facts]) if event in before or len(facts) > 1 else effective(facts)
        if counted is not counts:
            if counted is not None:
                yield _contribution(counted, -1)
            if counts is not None:
                yield _contribution(counts, 1)


def _contribution(fact: Fact, sign: int) -> Delta:
    if fact.numerator is None or fact.denominator is None:
        raise ValueError("a void contributes nothing")
    # copy_negate is exact whatever the size; unary minus would round to the ambient context.
    numerator = fact.numerator if sign > 0 else fact.numerator.copy_negate()
    denominator = fact.denominator if sign > 0 else fact.denominator.copy_negate()
    return Delta(fact.employee, fact.metric, fact.occurred_on, numerator, denominator, sign)
