"""The HTTP edge of ingest."""

from services.ingest.api import employees, feedback, kpi_events, metrics, providers, sources, story

ROUTERS = (
    providers.router,
    providers.clients_router,
    sources.router,
    metrics.router,
    employees.router,
    kpi_events.router,
    story.router,
    story.conflicts_router,
    feedback.router,
)
