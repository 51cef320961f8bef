"""The peer: a plain FastAPI and SQLAlchemy service that adds and commits one event at a time.

It is what a team would write first: the same body, the same columns, one ORM object and one transaction per event, no
outbox, no roster, no duplicates told apart. `PLAIN_DATABASE_URL` names its database.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import Numeric, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class StoredEvent(Base):
    __tablename__ = "plain_events"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    agent: Mapped[str] = mapped_column(Text)
    metric: Mapped[str] = mapped_column(Text)
    occurred_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
    numerator: Mapped[Decimal] = mapped_column(Numeric)
    denominator: Mapped[Decimal] = mapped_column(Numeric)


class EventIn(BaseModel):
    id: str
    agent: str
    metric: str
    occurred_at: AwareDatetime
    numerator: Decimal
    denominator: Decimal


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(os.environ["PLAIN_DATABASE_URL"], pool_size=10, max_overflow=0)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as opened:
        yield opened


app = FastAPI(lifespan=lifespan)
Opened = Annotated[AsyncSession, Depends(session)]


@app.post("/events", status_code=202)
async def post_events(events: list[EventIn], opened: Opened) -> dict[str, int]:
    for event in events:
        opened.add(StoredEvent(**event.model_dump()))
        await opened.commit()
    return {"accepted": len(events)}


@app.post("/event", status_code=202)
async def post_event(event: EventIn, opened: Opened) -> dict[str, int]:
    opened.add(StoredEvent(**event.model_dump()))
    await opened.commit()
    return {"accepted": 1}
