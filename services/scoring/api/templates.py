"""Templates, their drafts and publications."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from fastapi import Path, Response
from pydantic import BaseModel, Field, StringConstraints

from services.scoring.api.access import Editor, TemplateReader
from services.scoring.commands import templates as commands
from services.scoring.model.templates import (
    Curve,
    Gate,
    MetricRule,
    Part,
    PartKind,
    Selector,
    Shape,
    TemplateDraft,
    TemplateHead,
    TemplateVersion,
)
from services.scoring.store import templates as store
from shared.contracts.ids import IDENTIFIER, Band, ClientId, LineOfBusiness, MetricKey, TemplateId
from shared.contracts.kpi import FeedbackCategory
from shared.errors import NotFound
from shared.web import App, Body, Day, Once, Page, Paging, Router, WithoutIdleZeros

router = Router(prefix="/templates", tags=["templates"])

Template = Annotated[TemplateId, IDENTIFIER]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Short = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$")]
Number = Annotated[Decimal, Field(max_digits=30, decimal_places=12), WithoutIdleZeros]


class SelectorIn(Body):
    role: Short | None = None
    client: Annotated[ClientId, IDENTIFIER] | None = None
    line_of_business: Annotated[LineOfBusiness, IDENTIFIER] | None = None


class TemplateIn(Body):
    template: Template
    name: Name
    selector: SelectorIn


class TemplateOut(BaseModel):
    template: str
    name: str
    selector: Selector
    versions: int
    published: tuple[int, ...]

    @classmethod
    def of(cls, head: TemplateHead) -> Self:
        return cls(
            template=head.template,
            name=head.name,
            selector=head.selector,
            versions=head.versions,
            published=head.published,
        )


class CurveIn(Body):
    points: Annotated[list[tuple[Number, Number]], Field(max_length=50)]
    shape: Shape = Shape.LINEAR
    accelerator: Number | None = None
    cap: Number | None = None

    def to_model(self) -> Curve:
        return Curve(tuple(self.points), self.shape, self.accelerator, self.cap)


class MetricPartIn(Body):
    kind: Literal[PartKind.METRIC]
    part: Short
    metric: Annotated[MetricKey, IDENTIFIER]
    weight: Number
    curve: CurveIn

    def to_model(self) -> Part:
        return Part(self.part, self.kind, self.metric, self.weight, self.curve.to_model())


class FeedbackPartIn(Body):
    kind: Literal[PartKind.FEEDBACK]
    part: Short
    category: FeedbackCategory
    weight: Number
    curve: CurveIn

    def to_model(self) -> Part:
        return Part(self.part, self.kind, self.category.value, self.weight, self.curve.to_model())


class GateIn(Body):
    metric: Annotated[MetricKey, IDENTIFIER]
    at_least: Number | None = None
    at_most: Number | None = None
    band_cap: Annotated[Band, IDENTIFIER]

    def to_model(self) -> Gate:
        return Gate(self.metric, self.at_least, self.at_most, self.band_cap)


class VersionIn(Body):
    effective_from: Day
    coverage_minimum: Number = Decimal("0.70")
    weight_maximum: Number = Decimal("0.50")
    parts: Annotated[list[Annotated[MetricPartIn | FeedbackPartIn, Field(discriminator="kind")]], Field(max_length=100)]
    gates: Annotated[tuple[GateIn, ...], Field(max_length=50)] = ()

    def to_model(self, template: TemplateId) -> TemplateVersion:
        return TemplateVersion(
            template=template,
            version=0,
            effective_from=self.effective_from,
            coverage_minimum=self.coverage_minimum,
            weight_maximum=self.weight_maximum,
            parts=tuple(part.to_model() for part in self.parts),
            gates=tuple(gate.to_model() for gate in self.gates),
        )


class PartOut(BaseModel):
    part: str
    kind: PartKind
    metric: str | None
    category: str | None
    weight: Decimal
    curve: Curve

    @classmethod
    def of(cls, part: Part) -> Self:
        is_metric = part.kind is PartKind.METRIC
        return cls(
            part=part.part,
            kind=part.kind,
            metric=part.source if is_metric else None,
            category=None if is_metric else part.source,
            weight=part.weight,
            curve=part.curve,
        )


class VersionOut(BaseModel):
    """`metrics` is what publication kept of them; empty for a draft."""

    template: str
    version: int
    state: str
    effective_from: date
    coverage_minimum: Decimal
    weight_maximum: Decimal
    parts: list[PartOut]
    gates: tuple[Gate, ...]
    metrics: dict[str, MetricRule]
    published_at: datetime | None
    published_by: str | None

    @classmethod
    def of(cls, draft: TemplateDraft) -> Self:
        content = draft.content
        return cls(
            template=content.template,
            version=content.version,
            state=draft.state.value,
            effective_from=content.effective_from,
            coverage_minimum=content.coverage_minimum,
            weight_maximum=content.weight_maximum,
            parts=[PartOut.of(part) for part in content.parts],
            gates=content.gates,
            metrics=dict(content.metrics),
            published_at=draft.published_at,
            published_by=draft.published_by,
        )


@router.post("", status_code=201)
async def post_template(body: TemplateIn, who: Editor, app: App) -> TemplateOut:
    selector = Selector(body.selector.role, body.selector.client, body.selector.line_of_business)
    async with app.database.begin(who.tenant) as tx:
        return TemplateOut.of(await commands.create(tx, who, body.template, body.name, selector, app.clock()))


@router.get("", response_model=Page[TemplateOut])
async def list_templates(who: TemplateReader, app: App, paging: Paging) -> Page[TemplateOut] | Response:
    (after,) = paging.after(tuple[str]) or ("",)
    async with app.database.begin(who.tenant) as tx:
        heads = await store.heads(tx, who.tenant, after=after, limit=paging.fetch)
    return paging.page(TemplateOut, [TemplateOut.of(head) for head in heads], key=lambda row: (row.template,))


@router.get("/{template}")
async def get_template(template: Template, who: TemplateReader, app: App) -> TemplateOut:
    async with app.database.begin(who.tenant) as tx:
        heads = await store.heads(tx, who.tenant, template=template)
    if not heads:
        raise NotFound("there is no such template")
    return TemplateOut.of(heads[0])


@router.post("/{template}/versions", status_code=201)
async def post_version(template: Template, body: VersionIn, who: Editor, app: App) -> VersionOut:
    async with app.database.begin(who.tenant) as tx:
        return VersionOut.of(await commands.add_version(tx, who, body.to_model(template), app.clock()))


@router.get("/{template}/versions", response_model=Page[VersionOut])
async def list_versions(
    template: Template, who: TemplateReader, app: App, paging: Paging
) -> Page[VersionOut] | Response:
    (after,) = paging.after(tuple[int]) or (0,)
    async with app.database.begin(who.tenant) as tx:
        if not await store.heads(tx, who.tenant, template=template):
            raise NotFound("there is no such template")
        found = await store.versions(tx, who.tenant, template, after=after, limit=paging.fetch)
    return paging.page(VersionOut, [VersionOut.of(each) for each in found], key=lambda row: (row.version,))


@router.get("/{template}/versions/{version}")
async def get_version(template: Template, version: Version, who: TemplateReader, app: App) -> VersionOut:
    async with app.database.begin(who.tenant) as tx:
        found = await store.versions(tx, who.tenant, template, version=version)
    if not found:
        raise NotFound("there is no such version")
    return VersionOut.of(found[0])


@router.post("/{template}/versions/{version}/publish", response_model=VersionOut)
async def publish_version(template: Template, version: Version, who: Editor, app: App, once: Once) -> Response:
    async with app.database.begin(who.tenant) as tx:

        async def publish() -> VersionOut:
            return VersionOut.of(await commands.publish(tx, who, template, version, app.clock()))

        return await once(tx, who, publish)
