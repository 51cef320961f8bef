"""What happens elsewhere and is somebody's to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.commands import notices, people
from services.notifications.model import Ids, Kind, NewNotice, RoleRequest
from shared.contracts.outcomes import (
    AwardAdjusted,
    AwardDecided,
    ClassificationPublished,
    ClassificationRevised,
    NoticeRequested,
)
from shared.contracts.scoring import CycleChanged
from shared.contracts.topics import AWARDS, CLASSIFICATIONS, CYCLES, NOTICES, WORKFORCE
from shared.contracts.workforce import EmployeeChanged
from shared.errors import RuleViolation
from shared.messaging.envelope import Batch
from shared.messaging.subscriptions import Subscription

E = TypeVar("E")


async def on_workforce(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, EmployeeChanged)]
    await people.learn_people(tx, batch.provider, events, batch.received_at)


async def on_cycles(tx: AsyncConnection, batch: Batch) -> None:
    events = [event for event in batch.events if isinstance(event, CycleChanged)]
    await people.learn_cycles(tx, batch.provider, events)


async def on_classifications(tx: AsyncConnection, batch: Batch) -> None:
    new = [
        _of_classification(event)
        for event in batch.events
        if isinstance(event, ClassificationPublished | ClassificationRevised)
    ]
    await notices.give(tx, batch.provider, new, batch.received_at)


async def on_awards(tx: AsyncConnection, batch: Batch) -> None:
    new = [_of_award(event) for event in batch.events if isinstance(event, AwardDecided | AwardAdjusted)]
    await notices.give(tx, batch.provider, new, batch.received_at)


async def on_notices(tx: AsyncConnection, batch: Batch) -> None:
    requests = [event for event in batch.events if isinstance(event, NoticeRequested)]
    direct = _each(requests, _to_recipient)
    await notices.give(tx, batch.provider, direct, batch.received_at)
    await notices.address(tx, batch.provider, _each(requests, _to_role), batch.received_at)


SUBSCRIPTIONS: tuple[Subscription, ...] = (
    Subscription(WORKFORCE, on_workforce),
    Subscription(CYCLES, on_cycles),
    Subscription(CLASSIFICATIONS, on_classifications),
    Subscription(AWARDS, on_awards),
    Subscription(NOTICES, on_notices),
)


def _each(events: list[NoticeRequested], make: Callable[[NoticeRequested], E | None]) -> list[E]:
    return [made for event in events if (made := make(event)) is not None]


def _of_classification(event: ClassificationPublished | ClassificationRevised) -> NewNotice:
    ids: dict[str, str | int] = {
        "cycle": event.cycle,
        "employee": event.employee,
        "session": event.session,
        "version": event.version,
    }
    return NewNotice(
        cause=f"classification/{event.cycle}/{event.employee}/{event.version}",
        recipient=event.employee,
        kind=(
            Kind.CLASSIFICATION_REVISED if isinstance(event, ClassificationRevised) else Kind.CLASSIFICATION_PUBLISHED
        ),
        cycle=event.cycle,
        ids=ids,
        happened_at=event.decided_at,
    )


def _of_award(event: AwardDecided | AwardAdjusted) -> NewNotice:
    ids: dict[str, str | int] = {
        "cycle": event.cycle,
        "employee": event.employee,
        "plan": event.plan,
        "run": event.run,
        "version": event.version,
        "classification_version": event.classification_version,
    }
    return NewNotice(
        cause=f"award/{event.run}/{event.employee}/{event.version}",
        recipient=event.employee,
        kind=Kind.AWARD_ADJUSTED if isinstance(event, AwardAdjusted) else Kind.AWARD_DECIDED,
        cycle=event.cycle,
        ids=ids,
        happened_at=event.decided_at,
    )


def _to_recipient(event: NoticeRequested) -> NewNotice | None:
    if event.recipient is None:
        return None
    return NewNotice(
        cause=_cause(event),
        recipient=event.recipient,
        kind=Kind(event.kind.value),
        cycle=event.cycle,
        ids=_ids(event),
        happened_at=event.requested_at,
    )


def _to_role(event: NoticeRequested) -> RoleRequest | None:
    if event.recipient is not None:
        return None
    if not event.role:
        raise RuleViolation("a notice needs a recipient or a role")
    return RoleRequest(
        cause=_cause(event),
        role=event.role,
        unit=event.unit or None,
        kind=Kind(event.kind.value),
        cycle=event.cycle,
        ids=_ids(event),
        happened_at=event.requested_at,
    )


def _cause(event: NoticeRequested) -> str:
    return f"notice/{event.kind.value}/{event.cause}"


def _ids(event: NoticeRequested) -> Ids:
    named = {"cycle": event.cycle, "employee": event.subject, "unit": event.unit}
    return {name: value for name, value in named.items() if value is not None}
