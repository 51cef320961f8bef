"""An `ETag` is the version of a row, and `If-Match` says which version was read."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from shared.versions import Precondition


async def _if_match(if_match: Annotated[str | None, Header()] = None) -> Precondition:
    return Precondition(if_match)


IfMatch = Annotated[Precondition, Depends(_if_match)]
