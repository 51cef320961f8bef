"""Ingest as a process."""

from __future__ import annotations

from pathlib import Path

from services.ingest.api import ROUTERS
from services.ingest.handlers import SUBSCRIPTIONS
from services.ingest.settings import IngestSettings
from shared.process import Service

SERVICE = Service(
    name="ingest",
    title="Plumbline ingest",
    settings=IngestSettings,
    migrations=Path(__file__).parent / "migrations" / "versions",
    routers=ROUTERS,
    subscriptions=SUBSCRIPTIONS,
)
