"""The HTTP edge of ingest."""

from services.ingest.api import employees, feedback, kpi_events, metrics, providers, sources, story

# Routes are tried in this order.
ROUTERS = (
    kpi_events.router,
    providers.router,
    providers.clients_router,
    sources.router,
    metrics.router,
    employees.router,
    story.router,
    story.conflicts_router,
    feedback.router,
)
