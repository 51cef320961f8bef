from __future__ import annotations

from pathlib import Path

from services.calibration.api import ROUTERS
from services.calibration.handlers import SUBSCRIPTIONS, TIMERS
from services.calibration.settings import CalibrationSettings
from shared.process import Service

SERVICE = Service(
    name="calibration",
    title="Plumbline calibration",
    settings=CalibrationSettings,
    migrations=Path(__file__).parent / "migrations" / "versions",
    routers=ROUTERS,
    subscriptions=SUBSCRIPTIONS,
    timers=TIMERS,
)
