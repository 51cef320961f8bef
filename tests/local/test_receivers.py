"""The mailbox and the webhook receiver."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from deploy.local.children import answers
from deploy.local.layout import PROJECT
from deploy.local.processes import wait_until
from deploy.local.webhooks import Receiver, app
from tests.local.conftest import free_port


def message(to: str, subject: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Message-ID"] = "plumbline@localhost", to, subject, f"<{subject}@x>"
    made.set_content("Größe\n")
    return made


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The SMTP port of a mailbox and the address of its reading side."""
    smtp_port, http_port = free_port(), free_port()
    ports = ("--smtp-port", str(smtp_port), "--http-port", str(http_port))
    command = [sys.executable, "-m", "deploy.local.mailbox", "--path", str(tmp_path / "mailbox.sqlite"), *ports]
    with subprocess.Popen(command, cwd=PROJECT) as process:
        assert wait_until(answers(http_port, "/count"), 15)
        yield smtp_port, f"http://127.0.0.1:{http_port}"
        process.terminate()
    assert process.returncode in (0, -signal.SIGTERM)


async def test_mail_is_kept_and_can_be_read_by_recipient(mail: tuple[int, str]) -> None:
    port, address = mail
    for to, subject in (("a@x.test", "one"), ("b@x.test", "two"), ("a@x.test", "one")):
        await aiosmtplib.send(message(to, subject), hostname="127.0.0.1", port=port)
    async with httpx.AsyncClient(base_url=address) as client:
        found = (await client.get("/messages", params={"to": "b@x.test"})).json()
        newest = (await client.get("/messages", params={"limit": 2})).json()
        count = (await client.get("/count")).json()
    assert [(item["recipient"], item["subject"], item["body"]) for item in found] == [("b@x.test", "two", "Größe\n")]
    assert [item["subject"] for item in newest] == ["one", "two"]
    assert count == {"messages": 3, "distinct_messages": 2}


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    receiver = Receiver(tmp_path / "webhooks.sqlite")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(receiver)), base_url="http://hooks.test") as client:
        yield client
    receiver.close()


async def test_every_delivery_is_kept_and_repeats_are_counted_once(hooks: httpx.AsyncClient) -> None:
    for webhook_id in ("w-1", "w-2", "w-1"):
        answer = await hooks.post("/any/path", content=b'{"a": 1}', headers={"webhook-id": webhook_id})
        assert answer.status_code == 204
    assert (await hooks.get("/count")).json() == {"deliveries": 3, "accepted": 3, "distinct_webhook_ids": 2}
    (delivery,) = (await hooks.get("/received", params={"webhook_id": "w-2"})).json()
    assert delivery["path"] == "/any/path"
    assert delivery["body"] == '{"a": 1}'
    assert delivery["headers"]["webhook-id"] == "w-2"


async def test_the_receiver_fails_as_often_as_it_is_told(hooks: httpx.AsyncClient) -> None:
    await hooks.post("/fail", params={"times": 2})
    statuses = [(await hooks.post("/", headers={"webhook-id": "w-1"})).status_code for _ in range(3)]
    assert statuses == [500, 500, 204]
    assert (await hooks.get("/count")).json()["accepted"] == 1
