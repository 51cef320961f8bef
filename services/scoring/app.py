"""What scoring is made of."""

from __future__ import annotations

import sys
from pathlib import Path

from services.scoring.api import ROUTERS
from services.scoring.commands.rebuilding import Rebuilt, compare
from services.scoring.handlers import SUBSCRIPTIONS, TIMERS
from services.scoring.settings import ScoringSettings
from shared.contracts.ids import ProviderId
from shared.database import Database
from shared.process import Service

_REBUILD_STEP = 200
_SHOWN = 50


async def rebuild(settings: ScoringSettings) -> int:
    """Recompute day sums and scorecards from facts, beside the running service; 1 when anything differs."""
    if not settings.rebuild_providers:
        sys.stderr.write("SCORING_REBUILD_PROVIDERS is not set: name the providers, as a JSON list\n")
        return 2
    database = Database(settings.database_url, settings.database_pool_size)
    try:
        differing = [await _rebuild_provider(database, ProviderId(each)) for each in settings.rebuild_providers]
    finally:
        await database.close()
    return int(any(differing))


async def _rebuild_provider(database: Database, provider: ProviderId) -> bool:
    found = Rebuilt()
    after: str | None = ""
    while after is not None:
        async with database.begin(provider) as tx:
            after = await compare(tx, provider, found, after=after, limit=_REBUILD_STEP)
    differs = False
    for table, comparison in (("day_sums", found.day_sums), ("scorecards", found.scorecards)):
        shown, again = comparison.hashes
        number = len(comparison.differences)
        sys.stdout.write(f"{provider} {table}: shown {shown} recomputed {again} differences {number}\n")
        sys.stdout.writelines(f"  {difference}\n" for difference in comparison.differences[:_SHOWN])
        differs = differs or shown != again
    sys.stdout.write(f"{provider} people yet to be scored, left out: {found.due}\n")
    return differs


SERVICE = Service(
    name="scoring",
    title="Plumbline scoring",
    settings=ScoringSettings,
    migrations=Path(__file__).parent / "migrations" / "versions",
    routers=ROUTERS,
    subscriptions=SUBSCRIPTIONS,
    timers=TIMERS,
    commands={"rebuild": rebuild},
)
