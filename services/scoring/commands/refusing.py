"""From what a rule found wrong to the refusal that names every field."""

from __future__ import annotations

from collections.abc import Iterable

from services.scoring.model.templates import Problem
from shared.errors import FieldProblem, RuleViolation


def refuse_any(problems: Iterable[Problem], code: str, detail: str) -> None:
    found = [FieldProblem(problem.pointer, problem.code, problem.detail) for problem in problems]
    if found:
        raise RuleViolation(detail, code=code, problems=found)
