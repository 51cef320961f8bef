"""The HTTP edge that all services share: what a service's `api/` and `app.py` import."""

from shared.web.application import create_app
from shared.web.body import Body, Day, Router, Time, check_depth, read_body
from shared.web.etags import IfMatch, Precondition, etag
from shared.web.idempotency import Once
from shared.web.pages import Page, Paging, keyset
from shared.web.problems import Refusal
from shared.web.security import Bearer, Requires, requires
from shared.web.wiring import App, Wiring, wiring

__all__ = [
    "App",
    "Bearer",
    "Body",
    "Day",
    "IfMatch",
    "Once",
    "Page",
    "Paging",
    "Precondition",
    "Refusal",
    "Requires",
    "Router",
    "Time",
    "Wiring",
    "check_depth",
    "create_app",
    "etag",
    "keyset",
    "read_body",
    "requires",
    "wiring",
]
