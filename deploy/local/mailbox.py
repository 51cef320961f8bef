"""Catches the mail of the stack: SMTP in, JSON over HTTP out; nothing leaves the machine."""

import argparse
import asyncio
import email
import email.policy
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, Query

from deploy.local.sqlite import open_writable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY, received TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    message_id TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, source BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_recipient ON messages (recipient, seq);
"""
_KEPT = 100_000
_COLUMNS = "seq, received, sender, recipient, message_id, subject, body"

Row = dict[str, str | int]


class Mailbox:
    """Every message once per recipient, newest first, the oldest forgotten beyond a hundred thousand."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = open_writable(path, _SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def add(self, sender: str, recipients: list[str], source: bytes) -> None:
        message = email.message_from_bytes(source, policy=email.policy.default)
        body = message.get_body(("plain", "html"))
        said = (
            datetime.now(UTC).isoformat(),
            sender,
            str(message["Message-ID"] or ""),
            str(message["Subject"] or ""),
            "" if body is None else str(body.get_content()).replace("\r\n", "\n"),
            source,
        )
        with self._connection:
            self._connection.executemany(
                "INSERT INTO messages (received, sender, message_id, subject, body, source, recipient)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*said, recipient) for recipient in recipients],
            )
            self._connection.execute("DELETE FROM messages WHERE seq <= (SELECT max(seq) FROM messages) - ?", [_KEPT])

    def messages(self, to: str | None = None, limit: int = 50) -> list[Row]:
        wanted = (to, to, limit)
        query = f"SELECT {_COLUMNS} FROM messages WHERE ? IS NULL OR recipient = ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
        return [dict(row) for row in self._connection.execute(query, wanted)]

    def count(self, to: str | None = None, domain: str | None = None) -> dict[str, int]:
        """How many deliveries, and of how many different messages: more of the first means repeats."""
        found = self._connection.execute(
            "SELECT count(*) AS messages, count(DISTINCT message_id || recipient) AS distinct_messages"
            " FROM messages WHERE (? IS NULL OR recipient = ?) AND (? IS NULL OR recipient LIKE '%@' || ?)",
            (to, to, domain, domain),
        ).fetchone()
        return dict(found)


class _Catcher:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content or b""
        source = content if isinstance(content, bytes) else content.encode()
        self._mailbox.add(envelope.mail_from or "", envelope.rcpt_tos, source)
        return "250 kept"


def app(mailbox: Mailbox) -> FastAPI:
    served = FastAPI(title="Plumbline local mailbox", docs_url=None, redoc_url=None)

    @served.get("/messages")
    async def messages(to: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[Row]:
        return mailbox.messages(to, limit)

    @served.get("/count")
    async def count(to: str | None = None, domain: str | None = None) -> dict[str, int]:
        return mailbox.count(to, domain)

    return served


async def serve(path: Path, smtp_port: int, http_port: int) -> None:
    mailbox = Mailbox(path)
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(_Catcher(mailbox), enable_SMTPUTF8=True, hostname="localhost"), "127.0.0.1", smtp_port
    )
    try:
        config = uvicorn.Config(app(mailbox), host="127.0.0.1", port=http_port, log_level="warning")
        await uvicorn.Server(config).serve()
    finally:
        smtp.close()
        mailbox.close()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.mailbox", description=__doc__)
    arguments.add_argument("--path", type=Path, required=True)
    arguments.add_argument("--smtp-port", type=int, required=True)
    arguments.add_argument("--http-port", type=int, required=True)
    given = arguments.parse_args()
    asyncio.run(serve(given.path, given.smtp_port, given.http_port))


if __name__ == "__main__":
    main()
