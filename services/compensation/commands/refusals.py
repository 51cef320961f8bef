"""Findings of the rules, as the refusal that a caller can act on."""

from __future__ import annotations

from collections.abc import Iterable

from services.compensation.model.plan import Finding
from shared.errors import FieldProblem, RuleViolation


def refuse_findings(findings: Iterable[Finding], code: str) -> None:
    """Raise when there is anything to say; every finding is named at once."""
    problems = [FieldProblem(found.pointer, found.code, found.detail) for found in findings]
    if problems:
        raise RuleViolation(f"{len(problems)} of the inputs cannot be accepted", code=code, problems=problems)
