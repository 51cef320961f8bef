"""Shapes that several bodies have in common."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Response
from pydantic import BaseModel, StringConstraints

from services.ingest.commands.editing import By, Put
from services.ingest.model import Rejection
from shared.auth import Principal
from shared.contracts.ids import IDENTIFIER
from shared.versions import etag
from shared.web import App

# No control characters: PostgreSQL stores no NUL, and nobody's name has a line break.
Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"),
]
Prose = Annotated[str, StringConstraints(max_length=4_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
Agent = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]

Id = Annotated[str, IDENTIFIER]


class RejectionOut(BaseModel):
    """`pointer` leads from the body as it was sent to what has to change."""

    index: int
    id: str | None
    code: str
    detail: str
    pointer: str

    @classmethod
    def of(cls, rejection: Rejection, pointer: str) -> Self:
        return cls(
            index=rejection.index, id=rejection.id, code=rejection.code, detail=rejection.detail, pointer=pointer
        )


def by(who: Principal, app: App) -> By:
    return By(who.tenant, who.subject, app.clock())


def answer_put(response: Response, put: Put) -> int:
    """Say in the answer's head what a PUT came to; the version, for the body."""
    response.status_code = 201 if put.created else 200
    response.headers["ETag"] = etag(put.version)
    return put.version
