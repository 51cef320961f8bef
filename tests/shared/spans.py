"""What a span tells of its own accord."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan


def told(span: ReadableSpan) -> str:
    """Every word the code put into it; not the ids, in which chance may write anything."""
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    return f"{span.name} {span.status.description} {dict(span.attributes or {})} {events}"
