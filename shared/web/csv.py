"""The rows of a list as CSV for spreadsheets: one header, nested fields as `outer.inner`, lists as JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, JsonValue

M = TypeVar("M", bound=BaseModel)

# A spreadsheet runs a cell that begins like this; a number may, because there is nothing in it to run.
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def to_csv(model: type[M], items: Sequence[M]) -> str:
    """Columns are those of the items, in order of appearance; without items, the fields of `model`."""
    rows = [dict(_cells("", item.model_dump(mode="json"))) for item in items]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(model.model_fields)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _cells(prefix: str, fields: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _cells(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", _cell(value)


def _cell(value: JsonValue) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
