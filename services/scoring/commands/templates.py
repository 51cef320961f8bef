"""Templates and the publication of their versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.commands.freezing import SWEEP, sweep_key
from services.scoring.model.cycles import Cycle, CycleState
from services.scoring.model.templates import (
    PartKind,
    Selector,
    TemplateDraft,
    TemplateHead,
    TemplateVersion,
    VersionState,
)
from services.scoring.rules.templates import draft_problems, publication_problems
from services.scoring.store import cycles, templates
from shared import audit
from shared.auth import Principal
from shared.contracts.ids import TemplateId
from shared.errors import Conflict, NotFound, refuse_any
from shared.field_problems import FieldProblem
from shared.messaging import timers


async def create(
    tx: AsyncConnection, who: Principal, template: TemplateId, name: str, selector: Selector, now: datetime
) -> TemplateHead:
    if not await templates.insert(tx, who.tenant, template, name, selector):
        if await templates.heads(tx, who.tenant, template=template):
            raise Conflict("there is a template of this id", code="template-exists")
        raise Conflict("another template has this selector", code="selector-taken")
    await audit.record(tx, who.subject, now, "template.created", f"template/{template}")
    return TemplateHead(template, name, selector, 0, ())


async def add_version(tx: AsyncConnection, who: Principal, content: TemplateVersion, now: datetime) -> TemplateDraft:
    """Keep a draft; whatever can be told wrong without knowing the metrics is refused."""
    if not await templates.lock(tx, who.tenant, content.template):
        raise NotFound("there is no such template")
    refuse_any(draft_problems(content), "version-refused")
    version = await templates.add_version(tx, who.tenant, content)
    await audit.record(tx, who.subject, now, "template.drafted", f"template/{content.template}/{version}")
    return TemplateDraft(replace(content, version=version), VersionState.DRAFT, None, None)


async def publish(
    tx: AsyncConnection, who: Principal, template: TemplateId, version: int, now: datetime
) -> TemplateDraft:
    """Make a version final, with the metrics as they are defined at this moment, and have the people it is for scored.

    Nothing that is frozen may move by it: it must begin after every cycle that is no longer open.
    """
    held = await cycles.hold_all(tx, who.tenant)
    if not await templates.lock(tx, who.tenant, template):
        raise NotFound("there is no such template")
    found = await templates.versions(tx, who.tenant, template, version=version)
    if not found:
        raise NotFound("there is no such version")
    content = found[0].content
    if found[0].state is VersionState.PUBLISHED:
        raise Conflict("this version was published before", code="already-published")
    touched = [cycle for cycle in held if cycle.period.ends_on >= content.effective_from]
    if begun := [cycle.cycle for cycle in touched if cycle.state is not CycleState.OPEN]:
        raise Conflict(f"it would change cycles that are no longer open: {', '.join(begun)}", code="cycle-not-open")
    names = {part.source for part in content.parts if part.kind is PartKind.METRIC}
    rules, developmental = await templates.metrics(
        tx, who.tenant, sorted(names | {gate.metric for gate in content.gates})
    )
    problems = [*publication_problems(content, rules, developmental), *_band_problems(content, touched)]
    refuse_any(problems, "version-refused")
    await templates.publish(tx, who.tenant, content, rules, by=who.subject, now=now)
    await timers.schedule(tx, SWEEP, who.tenant, [sweep_key(cycle.cycle) for cycle in touched], now)
    await audit.record(tx, who.subject, now, "template.published", f"template/{template}/{version}")
    return TemplateDraft(replace(content, metrics=rules), VersionState.PUBLISHED, now, who.subject)


def _band_problems(content: TemplateVersion, touched: Sequence[Cycle]) -> Iterator[FieldProblem]:
    for index, gate in enumerate(content.gates):
        for cycle in touched:
            if gate.band_cap not in {cut.band for cut in cycle.period.bands}:
                detail = f"cycle {cycle.cycle} has no band of this name"
                yield FieldProblem(f"/gates/{index}/band_cap", "gate-band-unknown", detail)
