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

    def check(self, version: int, *, changes: bool = True) -> None:
        """Refuse a caller who read another version than `version`, which is 0 where nothing was put yet; whoever says
        nothing may only create, or say again what is so already.

        Call it after the row is locked: a version read before that may be gone.
        """
        if self.header is None:
            if version and changes:
                raise PreconditionRequired("say with If-Match which version this changes; its ETag came with the GET")
            return
        tags = {tag.strip() for tag in self.header.split(",")}
        if etag(version) not in tags and not (version and "*" in tags):
            raise PreconditionFailed("this is not the version that If-Match names; read it again")


async def _if_match(if_match: Annotated[str | None, Header()] = None) -> Precondition:
    return Precondition(if_match)


IfMatch = Annotated[Precondition, Depends(_if_match)]
