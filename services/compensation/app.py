"""What the compensation service is made of."""

from __future__ import annotations

from pathlib import Path

from services.compensation.api import ledger, pay, plans, runs, statements
from services.compensation.handlers import SUBSCRIPTIONS, TIMERS
from services.compensation.settings import CompensationSettings
from shared.process import Service

SERVICE = Service(
    name="compensation",
    title="Plumbline compensation",
    settings=CompensationSettings,
    migrations=Path(__file__).parent / "migrations" / "versions",
    routers=(pay.router, plans.router, runs.router, statements.router, ledger.router),
    subscriptions=SUBSCRIPTIONS,
    timers=TIMERS,
)
