"""The stages of the demo in their order. Any may be broken off and begun again: what is done stays as it is."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from deploy.local.demo import calibrating, notices, paying, posting, rating, revising, setting_up
from deploy.local.demo.context import Course

Stage = Callable[[Course], Awaitable[None]]

STAGES: dict[str, tuple[str, Stage]] = {
    "register": ("provider, clients, sources, metrics", setting_up.register),
    "employ": ("people, their places and their agent ids", setting_up.employ),
    "connect": ("addresses and the HR portal's webhook", setting_up.connect),
    "templates": ("role templates published", setting_up.publish_templates),
    "cycle": ("cycle open", setting_up.open_cycle),
    "rate": ("leads and colleagues have rated", rating.rate),
    "post": ("a quarter of KPI events posted", posting.post_quarter),
    "amend": ("corrections and voids posted", posting.amend),
    "freeze": ("cycle frozen", calibrating.freeze),
    "open": ("calibration sessions open", calibrating.open_sessions),
    "calibrate": ("everybody decided on, sessions locked", calibrating.calibrate),
    "publish": ("classifications published", calibrating.publish),
    "prepare-pay": ("ranges, rates, plans, pay and budgets", paying.prepare_pay),
    "pay": ("runs computed and approved", paying.pay),
    "late": ("late corrections posted", posting.correct_late),
    "accept": ("late scorecards accepted", revising.accept_late),
    "revise": ("revisions decided", revising.revise),
    "settle": ("pay has followed", revising.settle),
    "deliver": ("mails and webhooks delivered", notices.deliver),
}
"""By name: what is true afterwards, and what makes it so."""


async def walk(course: Course, on_stage: Callable[[str], None] = lambda name: None) -> None:
    """Every stage, in order; `on_stage` is told each name just before, and may do to the services what it likes."""
    for name, (done, stage) in STAGES.items():
        on_stage(name)
        begun = time.monotonic()
        await stage(course)
        course.seconds[name] = course.seconds.get(name, 0.0) + time.monotonic() - begun
        course.screen.say(done)
