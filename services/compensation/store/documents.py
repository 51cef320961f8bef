"""The JSON of what a run keeps of its people."""

from __future__ import annotations

from pydantic import TypeAdapter

from services.compensation.model.award import LeftOut, Line, Subject

LINES = TypeAdapter(tuple[Line, ...])
LEFT_OUT = TypeAdapter(tuple[LeftOut, ...])
SUBJECT = TypeAdapter(Subject)
