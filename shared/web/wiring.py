"""What a route may reach: made once per process, kept in `app.state.wiring`."""

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
    settings: ServiceSettings
    database: Database
    verifier: TokenVerifier
    clock: Clock


async def wiring(request: Request) -> Wiring:
    found: Wiring = request.app.state.wiring
    return found


App = Annotated[Wiring, Depends(wiring)]
