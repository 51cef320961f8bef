"""What rules, commands and the edge say of an input that cannot be accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One offending input: a JSON pointer (or header, query name) and what is wrong with it."""

    pointer: str
    code: str
    detail: str
