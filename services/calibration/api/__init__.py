from services.calibration.api import classifications, decisions, revisions, sessions, subjects

ROUTERS = (
    sessions.router,
    subjects.router,
    decisions.router,
    revisions.router,
    classifications.router,
)
