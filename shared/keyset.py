"""Lists are read a page at a time, each behind the sort key of the last row of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, tuple_

Columns = TypeVarTuple("Columns")


def keyset(
    rows: Select[*Columns], columns: Sequence[ColumnElement[Any]], after: tuple[object, ...] | None, fetch: int
) -> Select[*Columns]:
    """`rows` in the order of `columns`, behind the sort key `after`. An index on exactly these columns answers it."""
    if after is not None:
        rows = rows.where(tuple_(*columns) > tuple_(*after))
    return rows.order_by(*columns).limit(fetch)
