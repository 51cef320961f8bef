"""JSON lines on standard output, each with the service and the trace it belongs to. No personal data in any of them."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from shared import telemetry


def _add_trace_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if trace_id := telemetry.current_trace_id():
        event["trace_id"] = trace_id
    return event


def _first_lines(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """PostgreSQL, SQLAlchemy and pydantic say what failed in the first line of a message, and on which values below."""
    pending = [*event.get("exception", ())]
    while pending:
        raised = pending.pop()
        raised["exc_value"] = raised["exc_value"].partition("\n")[0]
        pending += [inner for group in raised.get("exceptions", ()) for inner in group]
    return event


def configure(service: str, level: Literal["debug", "info", "warning", "error"]) -> None:
    """Send structlog's and the standard library's records out as JSON. Call once, before the first record."""

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    common: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_trace_id,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Local variables hold pay and names: they stay out of the traceback.
                structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
                _first_lines,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # One line per request is the span's business; paths in an access log would carry employee ids.
    for name in ("uvicorn.access", "httpx", "httpcore", "aiokafka.conn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
