"""Messages as Standard Webhooks wants them: a body of ids, and an HMAC over id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.notifications.model import Message

SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
"""How long messages carry a second signature after a new secret was made."""


def show_secret(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"


def sign(secrets: Sequence[bytes], message_id: str, sent_at: datetime, body: bytes) -> str:
    """The `webhook-signature` header: one `v1` signature per secret, the newest first."""
    signed = f"{message_id}.{_seconds(sent_at)}.".encode() + body
    digests = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def body_of(message: Message) -> bytes:
    """The same bytes at every attempt: nothing in them depends on when they are sent."""
    data: dict[str, str | int] = {
        **message.ids,
        "notice": str(message.notice),
        "kind": message.kind,
        "cause": message.cause,
        "recipient": message.recipient,
    }
    said = {"type": f"notice.{message.kind}", "timestamp": in_utc(message.happened_at), "data": data}
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def headers_of(message: Message, sent_at: datetime, body: bytes) -> dict[str, str]:
    message_id = f"msg_{message.claim.delivery}"
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(_seconds(sent_at)),
        "webhook-signature": sign(message.secrets, message_id, sent_at, body),
    }


def in_utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
