"""What a route may reach: made once by the service's `app.py`, kept in `app.state.wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from shared.auth import TokenVerifier
from shared.clock import Clock
from shared.database import Database
from shared.settings import ServiceSettings


@dataclass(frozen=True)
class Wiring:
    """A service with clients of its own subclasses this and declares `Annotated[ItsWiring, Depends(wiring)]`."""

    service: str
    settings: ServiceSettings
    database: Database
    verifier: TokenVerifier
    clock: Clock


async def wiring(request: Request) -> Wiring:
    found: Wiring = request.app.state.wiring
    return found


App = Annotated[Wiring, Depends(wiring)]
