"""Give notices: once per cause and recipient, with the deliveries that carry them out of the house."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.model import Channel, NewNotice, RoleRequest
from services.notifications.store import deliveries, notices
from services.notifications.store.queue import timer_kind
from shared.contracts.ids import ProviderId
from shared.messaging import timers


async def give(tx: AsyncConnection, provider: ProviderId, new: Sequence[NewNotice], now: datetime) -> None:
    """Keep those that are new and make their deliveries due; who has no contact at this moment gets no mail."""
    if not new:
        return
    ids = await notices.insert(tx, provider, new, now)
    if not ids:
        return
    mails = await deliveries.add_mail(tx, provider, ids, now)
    messages = await deliveries.add_webhooks(tx, provider, ids, now)
    for channel, made in ((Channel.EMAIL, mails), (Channel.WEBHOOK, messages)):
        await timers.schedule(tx, timer_kind(channel), provider, [str(delivery) for delivery in made], now)


async def address(tx: AsyncConnection, provider: ProviderId, requests: Sequence[RoleRequest], now: datetime) -> None:
    """Give each request's notice to everyone who holds its role at this moment."""
    if not requests:
        return
    causes = await notices.insert_requests(tx, provider, requests, now)
    if causes:
        await give(tx, provider, await notices.addressed(tx, provider, causes), now)
