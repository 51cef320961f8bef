"""Every line of a service's log is one JSON object that says whose it is, and never what was in a variable."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError

from shared import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_our_lines_and_those_of_libraries_have_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("scoring", "info")
    structlog.get_logger("shared.web").warning("request failed", status=503)
    logging.getLogger("uvicorn.error").info("started on %s", 8102)
    logging.getLogger("uvicorn.access").info("GET /v1/pay/e-1")
    structlog.get_logger("shared.web").debug("not at this level")
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["status"], ours["level"], ours["service"]) == (
        "request failed",
        503,
        "warning",
        "scoring",
    )
    assert (theirs["event"], theirs["service"]) == ("started on 8102", "scoring")


def test_a_traceback_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("scoring", "info")
    salary = "123456.78"
    try:
        raise KeyError(len(salary))
    except KeyError as error:
        structlog.get_logger().error("request failed", exc_info=error)
    (line,) = lines(capsys)
    assert "KeyError" in json.dumps(line)
    assert salary not in json.dumps(line)


class Pay(BaseModel):
    amount: int


def test_a_traceback_says_what_failed_and_not_on_which_value(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("scoring", "info")
    refused = DBAPIError("INSERT", {"name": "Ada"}, Exception("duplicate key\nDETAIL: Key (name)=(Ada) exists."))
    try:
        Pay.model_validate({"amount": "123456.78"})
    except ValidationError as error:
        logging.getLogger("asyncio").exception("task failed", exc_info=ExceptionGroup("both", [refused, error]))
    (line,) = lines(capsys)
    said = json.dumps(line)
    assert "duplicate key" in said
    assert "1 validation error for Pay" in said
    assert "Ada" not in said
    assert "123456.78" not in said
