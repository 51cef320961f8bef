"""The HTTP edge of scoring."""

from services.scoring.api import cycles, lineage, scorecards, templates

ROUTERS = (templates.router, cycles.router, scorecards.router, lineage.router)
