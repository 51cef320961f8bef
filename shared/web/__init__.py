"""The HTTP edge that all services share: what a service's `api/` and `app.py` import."""

from shared.web.application import create_app
from shared.web.body import Body, Day, Router, Time, WithoutIdleZeros, Written, read_body
from shared.web.etags import IfMatch
from shared.web.idempotency import Once
from shared.web.json import NAMED_TWICE, Repeated, check_depth, members, repeated_member
from shared.web.pages import Page, Paging
from shared.web.problems import Refusal, pointer
from shared.web.security import Bearer, Requires, requires
from shared.web.wiring import App, Wiring, wiring

__all__ = [
    "NAMED_TWICE",
    "App",
    "Bearer",
    "Body",
    "Day",
    "IfMatch",
    "Once",
    "Page",
    "Paging",
    "Refusal",
    "Repeated",
    "Requires",
    "Router",
    "Time",
    "Wiring",
    "WithoutIdleZeros",
    "Written",
    "check_depth",
    "create_app",
    "members",
    "pointer",
    "read_body",
    "repeated_member",
    "requires",
    "wiring",
]
