"""What people edit has versions, and whoever edits says which one they read."""

from __future__ import annotations

from dataclasses import dataclass

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
