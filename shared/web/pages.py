"""Lists: pages by cursor, or the same rows as CSV.

A cursor is the sort key of the last row shown, so that rows inserted or removed meanwhile neither repeat nor hide
others. It is opaque to callers and says nothing a row of the page did not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json
from starlette.datastructures import URL

from shared.field_problems import FieldProblem
from shared.web.csv import to_csv
from shared.web.problems import Refusal

M = TypeVar("M", bound=BaseModel)
K = TypeVar("K", bound=tuple[object, ...])

MAX_CSV_ROWS = 10_000
_QUALITY = re.compile(r"q=([01](?:\.[0-9]*)?)")


class Page(BaseModel, Generic[M]):
    items: list[M]
    next: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int
    cursor: str | None
    csv: bool
    url: URL

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than is shown, which tells whether there is a next page."""
        return self.limit + 1

    def after(self, key: type[K]) -> K | None:
        """The sort key behind which this page begins; a cursor that is not one of this list's is refused."""
        if self.cursor is None:
            return None
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            found = TypeAdapter(key).validate_json(
                base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
            )
            for value in found:
                _require_storable(value)
            return found
        except (ValueError, OverflowError):
            problem = FieldProblem("cursor", "invalid", "not a cursor of this list")
            raise Refusal(400, "invalid-cursor", "begin again without a cursor", [problem]) from None

    def page(self, model: type[M], items: Sequence[M], key: Callable[[M], tuple[object, ...]]) -> Page[M] | Response:
        """At most `limit` of the `fetch` items that were read, as JSON or as the CSV that was asked for.

        `key` gives the tuple that the rows are sorted by; no two rows may share one.
        """
        shown = items[: self.limit]
        following = None
        if len(items) > self.limit:
            following = base64.urlsafe_b64encode(to_json(key(shown[-1]))).decode().rstrip("=")
        if not self.csv:
            return Page[M](items=list(shown), next=following)
        headers = {"Link": f'<{self._address_of(following)}>; rel="next"'} if following else {}
        return Response(to_csv(model, shown), 200, headers, "text/csv; charset=utf-8")

    def _address_of(self, cursor: str) -> str:
        following = self.url.include_query_params(cursor=cursor)
        return f"{following.path}?{following.query}"


def _require_storable(value: object) -> None:
    """Refuse what no column holds: a key that came from a row of ours is none of these."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("no column holds such a number")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("no column holds a NUL")
    if isinstance(value, datetime):
        value.astimezone(UTC)


def _prefers_csv(accept: str) -> bool:
    """Whether CSV is welcome more than JSON, or as much and asked for by a closer name."""
    qualities = dict(_ranges(accept))

    def welcome(*names: str) -> tuple[float, int]:
        """Of the names that fit, from the closest to the widest, only the closest that is sent counts."""
        return next(((qualities[name], -far) for far, name in enumerate(names) if name in qualities), (0, -len(names)))

    csv = welcome("text/csv", "text/*", "*/*")
    return csv[0] > 0 and csv > welcome("application/json", "application/*", "*/*")


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        given = (_QUALITY.fullmatch(parameter) for parameter in parameters)
        yield name, next((float(found[1]) for found in given if found), 1)


async def paging(
    request: Request,
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_CSV_ROWS, description="at most 200 unless CSV is asked for")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> PageRequest:
    csv = _prefers_csv(",".join(request.headers.getlist("accept")))
    most = MAX_CSV_ROWS if csv else 200
    if limit is not None and limit > most:
        raise Refusal(
            400, "limit-too-large", f"at most {most}", [FieldProblem("limit", "too-large", f"at most {most}")]
        )
    return PageRequest(limit or (most if csv else 50), cursor, csv, request.url)


Paging = Annotated[PageRequest, Depends(paging)]
