"""Edits of what people edit: an `ETag` is the version of a row, and `If-Match` says which version was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

from shared.errors import PreconditionFailed, PreconditionRequired


def etag(version: int) -> str:
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the caller said about the version it decided on."""

    header: str | None

    def check(self, version: int) -> None:
        """Refuse unless the caller read `version`. Call it after the row is locked: a version read before that may be
        gone. Creating needs no call."""
        if self.header is None:
            raise PreconditionRequired("say with If-Match which version this changes; its ETag came with the GET")
        tags = {tag.strip() for tag in self.header.split(",")}
        if "*" not in tags and etag(version) not in tags:
            raise PreconditionFailed("somebody changed this in the meantime; read it again")


async def _if_match(if_match: Annotated[str | None, Header()] = None) -> Precondition:
    return Precondition(if_match)


IfMatch = Annotated[Precondition, Depends(_if_match)]
