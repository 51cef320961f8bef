"""What people say of each other."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter

from services.ingest.api.bodies import Documents, Shape, alone, one_or_many, read_documents
from services.ingest.api.shapes import Prose, RejectionOut, by
from services.ingest.commands.feedback import Outcome, submit_feedback
from services.ingest.model import Rating, Rejection
from services.ingest.rules.feedback import NOT_YOURS
from services.ingest.store import feedback as store
from services.ingest.store.feedback import FeedbackRow, Filter
from shared.auth import Principal, Role
from shared.contracts.ids import IDENTIFIER, CycleId, EmployeeId
from shared.contracts.kpi import FeedbackCategory
from shared.errors import Forbidden, RuleViolation
from shared.field_problems import FieldProblem
from shared.web import App, Body, Page, Paging, Router, WithoutIdleZeros, requires

MOST_BYTES = 4 << 20

router = Router(prefix="/feedback", tags=["feedback"])
Submitter = Annotated[Principal, requires(Role.EMPLOYEE, Role.MANAGER, Role.HR_ADMIN)]
Reader = Annotated[Principal, requires(Role.HR_ADMIN)]


class RatingIn(Body):
    """`rater` is whoever asks, unless an HR administrator enters what somebody else said."""

    cycle: Annotated[CycleId, IDENTIFIER]
    employee: Annotated[EmployeeId, IDENTIFIER]
    category: FeedbackCategory
    rating: Annotated[Decimal, Field(ge=1, le=100, max_digits=7, decimal_places=4), WithoutIdleZeros]
    comment: Prose = ""
    rater: Annotated[EmployeeId, IDENTIFIER] | None = None


class AcceptedOut(BaseModel):
    index: int
    id: str
    revision: int


class FeedbackResultOut(BaseModel):
    """`duplicates` say again what stands already."""

    accepted: int
    duplicates: int
    rejected: list[RejectionOut]
    items: list[AcceptedOut]


class FeedbackOut(BaseModel):
    id: UUID
    cycle: str
    employee: str
    rater: str
    category: FeedbackCategory
    revision: int
    rating: Decimal
    comment: str
    submitted_at: datetime
    submitted_by: str

    @classmethod
    def of(cls, row: FeedbackRow) -> Self:
        return cls.model_validate(row, from_attributes=True)


_RATINGS = Shape(TypeAdapter(RatingIn), TypeAdapter(list[RatingIn]))


@router.post("", status_code=202, openapi_extra={"requestBody": {"required": True, "content": one_or_many(_RATINGS)}})
async def post_feedback(request: Request, who: Submitter, app: App) -> FeedbackResultOut:
    documents = await read_documents(request, MOST_BYTES)
    valid, refused = _RATINGS.read(documents.items)
    ratings: list[Rating] = []
    for index, item in valid:
        rating = _rating(index, item, who)
        if isinstance(rating, Rating):
            ratings.append(rating)
        else:
            refused.append(rating)
    async with app.database.begin(who.tenant) as tx:
        outcome = await submit_feedback(tx, ratings, who.employee, by(who, app))
    outcome.rejected.extend(refused)
    if documents.pointer is alone:
        _require_accepted(documents, outcome)
    return FeedbackResultOut(
        accepted=len(outcome.accepted),
        duplicates=outcome.duplicates,
        rejected=documents.show(outcome.rejected),
        items=[AcceptedOut(index=done.index, id=done.id, revision=done.revision) for done in outcome.accepted],
    )


def _rating(index: int, item: RatingIn, who: Principal) -> Rating | Rejection:
    rater = item.rater or who.employee
    if rater is None:
        return Rejection(index, None, "missing", "the token names no employee: say who rates", "rater")
    if rater != who.employee and not who.has(Role.HR_ADMIN):
        return Rejection(index, None, "other-rater", "only an HR administrator enters what others said", "rater")
    return Rating(index, item.cycle, item.employee, rater, item.category.value, item.rating, item.comment)


def _require_accepted(documents: Documents, outcome: Outcome) -> None:
    """One object is one person's form: what is wrong with it is the answer, not a line in a report."""
    if outcome.rejected:
        (found,) = documents.show(outcome.rejected)
        if found.code in NOT_YOURS:
            raise Forbidden(found.detail, code=found.code)
        problem = FieldProblem(found.pointer, found.code, found.detail)
        raise RuleViolation(found.detail, code="feedback-refused", problems=[problem])


@router.get("", response_model=Page[FeedbackOut])
async def list_feedback(
    who: Reader,
    app: App,
    paging: Paging,
    cycle: Annotated[CycleId | None, Query(pattern=IDENTIFIER.pattern)] = None,
    employee: Annotated[EmployeeId | None, Query(pattern=IDENTIFIER.pattern)] = None,
    category: FeedbackCategory | None = None,
) -> Page[FeedbackOut] | Response:
    wanted = Filter(cycle, employee, category.value if category else None, hidden=who.employee)
    async with app.database.begin(who.tenant) as tx:
        found = await store.page(tx, wanted, paging.after(tuple[UUID]), paging.fetch)
    return paging.page(FeedbackOut, [FeedbackOut.of(row) for row in found], key=lambda one: (one.id,))
