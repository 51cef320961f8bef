"""What a body may say of days, times and nothing at all."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.web import Body, Day, Time

DAY, TIME = TypeAdapter(Day), TypeAdapter(Time)


class Scope(Body):
    units: tuple[str, ...] = ()


def test_a_day_is_written_as_one() -> None:
    assert DAY.validate_python("2025-04-09") == date(2025, 4, 9)


@pytest.mark.parametrize("sent", [0, Decimal(0), "1744156800", "2025-04-09T00:00:00", "09.04.2025", True])
def test_what_is_no_day_is_not_taken_for_one(sent: object) -> None:
    with pytest.raises(ValidationError, match="YYYY-MM-DD"):
        DAY.validate_python(sent)


@pytest.mark.parametrize("sent", ["0001-01-01", "1899-12-31", "3000-01-01", "9999-12-31"])
def test_days_at_the_ends_of_the_calendar_are_refused(sent: str) -> None:
    with pytest.raises(ValidationError):
        DAY.validate_python(sent)


@pytest.mark.parametrize("sent", [2147483648, Decimal(1), "2147483648", "2025-04-09T10:00:00", "9999-12-31T23:59:59Z"])
def test_a_time_is_written_with_its_offset(sent: object) -> None:
    assert TIME.validate_python("2025-04-09T10:00:00+08:00").utcoffset() is not None
    with pytest.raises(ValidationError):
        TIME.validate_python(sent)


@pytest.mark.parametrize("sent", [Decimal("0.1"), 1, "x", [], None, True])
def test_only_an_object_is_a_body(sent: object) -> None:
    with pytest.raises(ValidationError):
        Scope.model_validate(sent, from_attributes=True)
