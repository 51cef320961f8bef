"""One way to write a number."""

from __future__ import annotations

from decimal import Decimal


def plain(value: Decimal) -> str:
    """Without exponent, trailing zeros or negative zero."""
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
