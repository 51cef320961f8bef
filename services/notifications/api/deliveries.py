"""What left the house, what could not, and trying again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from services.notifications.commands import deliveries as commands
from services.notifications.model import Channel, DeliveryId, Kind, State
from services.notifications.store import deliveries as store
from shared.auth import Principal, Role
from shared.web import App, Once, Page, Paging, Router, requires

router = Router(prefix="/deliveries", tags=["deliveries"])
Reader = Annotated[Principal, requires(Role.HR_ADMIN, Role.AUDITOR, Role.OPERATOR)]
Sender = Annotated[Principal, requires(Role.HR_ADMIN, Role.OPERATOR)]


class DeliveryOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    notice: UUID
    kind: Kind
    recipient: str
    channel: Channel
    endpoint: UUID | None
    state: State
    attempts: int
    next_at: datetime | None
    last_error: str | None
    created_at: datetime
    settled_at: datetime | None


@router.get("", response_model=Page[DeliveryOut])
async def list_deliveries(
    who: Reader,
    app: App,
    paging: Paging,
    channel: Channel | None = None,
    state: State | None = None,
    endpoint: UUID | None = None,
) -> Page[DeliveryOut] | Response:
    before = paging.after(tuple[UUID])
    async with app.database.begin(who.tenant) as tx:
        rows = await store.page(
            tx,
            who.tenant,
            channel=channel,
            state=state,
            endpoint=endpoint,
            before=before[0] if before else None,
            fetch=paging.fetch,
        )
    items = [DeliveryOut.model_validate(row) for row in rows]
    return paging.page(DeliveryOut, items, lambda delivery: (delivery.id,))


@router.post("/{delivery}/retry", status_code=202, response_model=DeliveryOut)
async def retry_delivery(delivery: UUID, who: Sender, app: App, once: Once) -> Response:
    async def retry() -> DeliveryOut:
        row = await commands.retry(tx, who.tenant, DeliveryId(delivery), by=who.subject, now=app.clock())
        return DeliveryOut.model_validate(row)

    async with app.database.begin(who.tenant) as tx:
        return await once(tx, who, retry)
