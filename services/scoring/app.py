"""What scoring is made of."""

from __future__ import annotations

from pathlib import Path

from services.scoring.api import ROUTERS
from services.scoring.handlers import SUBSCRIPTIONS, TIMERS
from services.scoring.settings import ScoringSettings
from shared.process import Service

SERVICE = Service(
    name="scoring",
    title="Plumbline scoring",
    settings=ScoringSettings,
    migrations=Path(__file__).parent / "migrations" / "versions",
    routers=ROUTERS,
    subscriptions=SUBSCRIPTIONS,
    timers=TIMERS,
)
