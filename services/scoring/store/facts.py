"""What was observed about people: events, their revisions, ratings, and the sums per day kept from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.model.facts import Delta, Fact, Source, Sums
from services.scoring.model.pacing import Pace
from services.scoring.model.people import Segment
from services.scoring.model.templates import PartKind
from shared.contracts.ids import ProviderId
from shared.statements import Statement, column

# Whoever waits already goes on waiting, but where the lag has shrunk no longer than `apart`: until then they may wait
# for no better reason than that they were scored just before.
_RESERVE = Statement("""
    INSERT INTO employee_heads AS head (provider_id, employee, sequence, revised, due_at)
    SELECT :provider, employee, CAST(wanted AS bigint), CAST(revised AS boolean), CAST(:soonest AS timestamptz)
    FROM unnest(string_to_array(:employees, E'\\x1f'), string_to_array(:wanted, E'\\x1f'),
                string_to_array(:revised, E'\\x1f'))
         AS new (employee, wanted, revised)
    ORDER BY employee
    ON CONFLICT (provider_id, employee) DO UPDATE
    SET sequence = head.sequence + excluded.sequence, revised = head.revised OR excluded.revised,
        due_at = CASE WHEN head.due_at > CAST(:now AS timestamptz)
                      THEN least(head.due_at, CAST(:now AS timestamptz) + CAST(:apart AS interval))
                      ELSE greatest(excluded.due_at, head.due_at + CAST(:apart AS interval)) END
    RETURNING employee, sequence, revised, due_at
""")
_HEADS = text("""
    SELECT employee, sequence FROM employee_heads
    WHERE provider_id = :provider AND employee = ANY(CAST(:employees AS text[])) ORDER BY employee
""")
_LOCK = text(f"{_HEADS.text} FOR UPDATE")
_INSERT = Statement("""
    INSERT INTO facts (provider_id, event, root, revision, employee, metric, occurred_on, numerator, denominator,
                       sequence, recorded_at)
    SELECT :provider, event, root, CAST(revision AS integer), employee, metric, CAST(day AS date),
           CAST(numerator AS numeric), CAST(denominator AS numeric), CAST(sequence AS bigint),
           CAST(recorded AS timestamptz)
    FROM unnest(string_to_array(:events, E'\\x1f'), string_to_array(:roots, E'\\x1f'),
                string_to_array(:revisions, E'\\x1f'), string_to_array(:employees, E'\\x1f'),
                string_to_array(:metrics, E'\\x1f'), string_to_array(:days, E'\\x1f'),
                string_to_array(:numerators, E'\\x1f', ''), string_to_array(:denominators, E'\\x1f', ''),
                string_to_array(:sequences, E'\\x1f'), string_to_array(:recorded, E'\\x1f'))
         AS row (event, root, revision, employee, metric, day, numerator, denominator, sequence, recorded)
    ON CONFLICT DO NOTHING RETURNING event
""")
# A first record can only meet revisions that arrived before it; a revision can meet its first record as well.
_KNOWN = text("""
    SELECT event, root, revision, employee, metric, occurred_on, numerator, denominator FROM facts
    WHERE provider_id = :provider AND event = ANY(CAST(:revised AS text[]))
    UNION ALL
    SELECT event, root, revision, employee, metric, occurred_on, numerator, denominator FROM facts
    WHERE provider_id = :provider AND root = ANY(CAST(:roots AS text[])) AND event <> root
""")
_ONTO_SUMS = """
    ON CONFLICT (provider_id, employee, day, metric) DO UPDATE
    SET numerator = kept.numerator + excluded.numerator, denominator = kept.denominator + excluded.denominator,
        events = kept.events + excluded.events
"""
_ADD_SUMS = Statement(f"""
    INSERT INTO day_sums AS kept (provider_id, employee, day, metric, numerator, denominator, events)
    SELECT :provider, employee, CAST(day AS date), metric, sum(CAST(numerator AS numeric)),
           sum(CAST(denominator AS numeric)), sum(CAST(events AS bigint))
    FROM unnest(string_to_array(:employees, E'\\x1f'), string_to_array(:days, E'\\x1f'),
                string_to_array(:metrics, E'\\x1f'), string_to_array(:numerators, E'\\x1f'),
                string_to_array(:denominators, E'\\x1f'), string_to_array(:events, E'\\x1f'))
         AS delta (employee, day, metric, numerator, denominator, events)
    GROUP BY employee, day, metric ORDER BY employee, day, metric {_ONTO_SUMS}
""")  # noqa: S608 - the interpolated text is the constant above
# In one statement, so that values travel and are parsed once, and only what was new is summed.
_INSERT_AND_SUM = Statement(f"""
    WITH new AS (
        INSERT INTO facts (provider_id, event, root, revision, employee, metric, occurred_on, numerator, denominator,
                           sequence, recorded_at)
        SELECT :provider, event, event, 0, employee, metric, CAST(day AS date), CAST(numerator AS numeric),
               CAST(denominator AS numeric), CAST(sequence AS bigint), CAST(recorded AS timestamptz)
        FROM unnest(string_to_array(:events, E'\\x1f'), string_to_array(:employees, E'\\x1f'),
                    string_to_array(:metrics, E'\\x1f'), string_to_array(:days, E'\\x1f'),
                    string_to_array(:numerators, E'\\x1f'), string_to_array(:denominators, E'\\x1f'),
                    string_to_array(:sequences, E'\\x1f'), string_to_array(:recorded, E'\\x1f'))
             AS row (event, employee, metric, day, numerator, denominator, sequence, recorded)
        ON CONFLICT DO NOTHING RETURNING employee, occurred_on, metric, numerator, denominator
    )
    INSERT INTO day_sums AS kept (provider_id, employee, day, metric, numerator, denominator, events)
    SELECT :provider, employee, occurred_on, metric, sum(numerator), sum(denominator), count(*) FROM new
    GROUP BY employee, occurred_on, metric ORDER BY employee, occurred_on, metric {_ONTO_SUMS}
""")  # noqa: S608 - likewise
_SEGMENT_SUMS = text("""
    SELECT piece.position, kept.metric, sum(kept.numerator) AS numerator, sum(kept.denominator) AS denominator,
           CAST(sum(kept.events) AS bigint) AS events, max(kept.day) AS latest_day
    FROM unnest(CAST(:employees AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[]))
         WITH ORDINALITY AS piece (employee, starts_on, ends_on, position)
    JOIN day_sums AS kept ON kept.provider_id = :provider AND kept.employee = piece.employee
                         AND kept.day BETWEEN piece.starts_on AND piece.ends_on
    WHERE kept.events <> 0 GROUP BY piece.position, kept.metric
""")


class Entry(NamedTuple):
    """A fact as it is stored: under its person's next number."""

    fact: Fact
    sequence: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Reserved:
    """A number per entry, when each person is to be scored, and of whom some event has more than one revision."""

    numbers: list[int]
    due: Mapping[str, datetime]
    revised: frozenset[str]

    def due_of(self, employees: Iterable[str]) -> dict[str, datetime]:
        return {employee: self.due[employee] for employee in employees}


async def reserve(
    tx: AsyncConnection,
    provider: ProviderId,
    employees: Sequence[str],
    pace: Pace,
    revised: AbstractSet[str] = frozenset(),
) -> Reserved:
    """Lock the person of each entry and give each entry that person's next number, in the order of the entries.

    `revised` are people whose events are being corrected or voided. Numbers of entries that turn out to be known
    already are left unused.
    """
    wanted = Counter(employees)
    names = sorted(wanted)
    rows = await _RESERVE.rows(
        tx,
        provider=provider,
        employees=column(names),
        wanted=column(str(wanted[name]) for name in names),
        revised=column(str(name in revised) for name in names),
        now=pace.now,
        soonest=pace.soonest,
        apart=pace.apart,
    )
    following: dict[str, int] = {}
    due: dict[str, datetime] = {}
    found = set()
    for employee, sequence, is_revised, due_at in rows:
        following[employee] = sequence - wanted[employee]
        due[employee] = due_at
        if is_revised:
            found.add(employee)
    numbers: list[int] = []
    for employee in employees:
        following[employee] += 1
        numbers.append(following[employee])
    return Reserved(numbers, due, frozenset(found))


async def heads(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str]) -> dict[str, int]:
    """The watermark of every known person among `employees`: how many numbers were given to what was said of them."""
    return await _heads(tx, provider, employees, _HEADS)


async def lock_heads(tx: AsyncConnection, provider: ProviderId, employees: Sequence[str]) -> dict[str, int]:
    """The same, and no fact or rating of theirs is added until the transaction ends."""
    return await _heads(tx, provider, employees, _LOCK)


async def _heads(
    tx: AsyncConnection, provider: ProviderId, employees: Sequence[str], query: TextClause
) -> dict[str, int]:
    rows = await tx.execute(query, {"provider": provider, "employees": sorted(employees)})
    return {row.employee: row.sequence for row in rows}


async def known(tx: AsyncConnection, provider: ProviderId, facts: Sequence[Fact]) -> list[Fact]:
    """Everything stored so far about the events that `facts` are about."""
    if not facts:
        return []
    values = {
        "provider": provider,
        "roots": sorted({fact.root for fact in facts}),
        "revised": sorted({fact.root for fact in facts if fact.event != fact.root}),
    }
    return [Fact(*row) for row in await tx.execute(_KNOWN, values)]


async def insert(tx: AsyncConnection, provider: ProviderId, entries: Sequence[Entry]) -> set[str]:
    """Store what is not stored yet; the ids of what was new."""
    facts = [entry.fact for entry in entries]
    rows = await _INSERT.rows(
        tx,
        **_columns(provider, entries),
        roots=column(fact.root for fact in facts),
        revisions=column(str(fact.revision) for fact in facts),
    )
    return {row["event"] for row in rows}


async def insert_and_sum(tx: AsyncConnection, provider: ProviderId, entries: Sequence[Entry]) -> None:
    """Store what is not stored yet and add it to its days: observations of people of whom nothing was ever revised."""
    if entries:
        await _INSERT_AND_SUM.rows(tx, **_columns(provider, entries))


def _columns(provider: ProviderId, entries: Sequence[Entry]) -> dict[str, str]:
    facts = [entry.fact for entry in entries]
    return {
        "provider": provider,
        "events": column([fact.event for fact in facts]),
        "employees": column([fact.employee for fact in facts]),
        "metrics": column([fact.metric for fact in facts]),
        "days": column([fact.occurred_on.isoformat() for fact in facts]),
        "numerators": column(["" if fact.numerator is None else str(fact.numerator) for fact in facts]),
        "denominators": column(["" if fact.denominator is None else str(fact.denominator) for fact in facts]),
        "sequences": column([str(entry.sequence) for entry in entries]),
        "recorded": column([entry.recorded_at.isoformat() for entry in entries]),
    }


async def add_to_day_sums(tx: AsyncConnection, provider: ProviderId, deltas: Iterable[Delta]) -> None:
    changes = list(deltas)
    if not changes:
        return
    await _ADD_SUMS.rows(
        tx,
        provider=provider,
        employees=column(delta.employee for delta in changes),
        days=column(delta.day.isoformat() for delta in changes),
        metrics=column(delta.metric for delta in changes),
        numerators=column(str(delta.numerator) for delta in changes),
        denominators=column(str(delta.denominator) for delta in changes),
        events=column(str(delta.events) for delta in changes),
    )


async def segment_sums(
    tx: AsyncConnection, provider: ProviderId, pieces: Sequence[tuple[str, Segment]]
) -> list[dict[Source, Sums]]:
    """The exact sums of every metric over each person's segment, in the order of `pieces`."""
    found: list[dict[Source, Sums]] = [{} for _ in pieces]
    if pieces:
        values = {
            "provider": provider,
            "employees": [employee for employee, _ in pieces],
            "starts": [segment.starts_on for _, segment in pieces],
            "ends": [segment.ends_on for _, segment in pieces],
        }
        for position, metric, *sums in await tx.execute(_SEGMENT_SUMS, values):
            found[position - 1][PartKind.METRIC, metric] = Sums(*sums)
    return found
