"""Where connections really go, and what mail really looks like."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.notifications.channels.mail import Mailer
from services.notifications.channels.webhooks import AddressRefused, PinnedTransport, WebhookSender
from services.notifications.model import Claim, DeliveryId, EndpointId, Kind, Letter, Message, NoticeId, Verdict
from shared.contracts.ids import EmployeeId
from tests.notifications.conftest import ACME, START, Clock, House, Mailbox, Receiver

CLAIM = Claim(ACME, DeliveryId(UUID(int=1)), attempt=1, failures=0)


class Names:
    """Answers for a name server: what it says next, then always the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def message(url: str) -> Message:
    return Message(
        claim=CLAIM,
        endpoint=EndpointId(UUID(int=2)),
        url=url,
        secrets=(bytes(32),),
        notice=NoticeId(UUID(int=3)),
        kind=Kind.AWARD_DECIDED,
        cause="award/r-1/e-1/1",
        recipient=EmployeeId("e-1"),
        ids={"run": "r-1"},
        happened_at=START,
    )


async def sent(transport: PinnedTransport, url: str, *, allow_private: bool = False) -> tuple[Verdict, str | None]:
    sender = WebhookSender(transport, Clock(), allow_private=allow_private)
    (outcome,) = await sender.send([message(url)])
    await sender.close()
    return outcome.verdict, outcome.error


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["64:ff9b::7f00:1"], ["8.8.8.8", "127.0.0.1"], ["fe80::1%lo"]],
)
async def test_a_name_with_any_address_inside_is_refused_before_a_connection(addresses: list[str]) -> None:
    transport = PinnedTransport(allow_private=False, resolve=Names(addresses))
    assert await sent(transport, "https://hooks.example.com/") == (Verdict.RETRY, "address-refused")


@pytest.mark.parametrize("url", ["https://0x7f.1/", "https://2130706433/", "https://127.1/", "https://localhost/"])
async def test_a_number_or_a_name_that_the_system_takes_for_loopback_is_refused(url: str) -> None:
    assert await sent(PinnedTransport(allow_private=False), url) == (Verdict.RETRY, "address-refused")


async def test_a_name_that_changes_its_mind_is_asked_once_and_the_checked_address_is_used(
    receiver: Receiver,
) -> None:
    """DNS rebinding: were the name resolved again for the connection, it would lead elsewhere."""
    names = Names(["127.0.0.1"], ["192.0.2.1"])
    transport = PinnedTransport(allow_private=True, resolve=names)
    url = f"http://hooks.example.com:{receiver.port}/hook"
    assert await sent(transport, url, allow_private=True) == (Verdict.DELIVERED, None)
    assert names.asked == ["hooks.example.com"]
    assert receiver.hooks[0].headers["host"] == f"hooks.example.com:{receiver.port}"


async def test_every_request_is_checked_anew_because_no_connection_is_kept(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    transport = PinnedTransport(allow_private=True, resolve=names)
    sender = WebhookSender(transport, Clock(), allow_private=True)
    await sender.send([message(f"http://hooks.example.com:{receiver.port}/hook")] * 3)
    await sender.close()
    assert len(names.asked) == 3


async def test_a_followed_redirect_would_be_checked_as_well() -> None:
    transport = PinnedTransport(allow_private=False, resolve=Names(["169.254.169.254"]))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(AddressRefused):
            await client.get("http://metadata.example.com/")


async def test_an_address_that_does_not_answer_is_passed_over_for_the_next(receiver: Receiver) -> None:
    transport = PinnedTransport(allow_private=True, resolve=Names(["::1", "127.0.0.1"]))
    url = f"http://hooks.example.com:{receiver.port}/hook"
    assert await sent(transport, url, allow_private=True) == (Verdict.DELIVERED, None)


async def test_a_proxy_in_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:3128")
    assert await sent(PinnedTransport(allow_private=True), receiver.url, allow_private=True) == (
        Verdict.DELIVERED,
        None,
    )


async def test_a_port_where_nobody_listens_and_a_name_that_does_not_exist_are_told_apart() -> None:
    closed = PinnedTransport(allow_private=True)
    assert await sent(closed, "http://127.0.0.1:1/", allow_private=True) == (Verdict.RETRY, "connection-failed")
    nowhere = PinnedTransport(allow_private=True, resolve=Names([]))
    assert (await sent(nowhere, "https://hooks.example.com/"))[0] is Verdict.RETRY


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of `name` shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    unlocked = serialization.NoEncryption()
    keyed = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    (folder / "server.pem").write_bytes(pem + keyed)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_names_and_checks_the_host_that_was_asked_for_not_the_address(tmp_path: Path) -> None:
    server_context, trusting = certificate_for("hooks.example.com", tmp_path)
    answered = Receiver()
    server = await asyncio.start_server(answered.serve, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    results = []
    for name in ("hooks.example.com", "other.example.com"):
        transport = PinnedTransport(allow_private=True, resolve=Names(["127.0.0.1"]), verify=trusting)
        results.append(await sent(transport, f"https://{name}:{port}/hook", allow_private=True))
    server.close()
    await server.wait_closed()
    assert results == [(Verdict.DELIVERED, None), (Verdict.RETRY, "tls-failed")]


async def test_no_host_is_talked_to_over_a_connection_whose_certificate_was_checked_for_another(
    tmp_path: Path,
) -> None:
    ended = asyncio.Event()

    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        finally:
            ended.set()
            writer.close()

    server_context, trusting = certificate_for("hooks.example.com", tmp_path)
    server = await asyncio.start_server(keep_open, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    transport = PinnedTransport(allow_private=True, resolve=Names(["127.0.0.1"]), verify=trusting)
    try:
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(f"https://hooks.example.com:{port}/")).status_code == 204
            # Seen from the server, because whether a pool uses a kept connection again depends on more than our limit.
            async with asyncio.timeout(5):
                await ended.wait()
            with pytest.raises(httpx.ConnectError):
                await client.get(f"https://other.example.com:{port}/")
    finally:
        server.close()
        await server.wait_closed()


def letter(**changes: str | None) -> Letter:
    values: dict[str, str | None] = {"display_name": "Ana", "cycle": "Spring", "locale": "en", **changes}
    return Letter(
        claim=CLAIM,
        address="ana@example.com",
        display_name=values["display_name"],
        locale=values["locale"] or "",
        kind=Kind.AWARD_DECIDED,
        cycle=values["cycle"],
        happened_at=START,
        time_zone="UTC",
    )


async def test_no_name_can_add_a_header_or_a_tag(house: House, mailbox: Mailbox) -> None:
    evil = "Spring\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>"
    (outcome,) = await Mailer(house.settings, house.clock).send([letter(cycle=evil, display_name=evil)])
    assert outcome.verdict is Verdict.DELIVERED
    assert mailbox.recipients == ["ana@example.com"]
    (message_,) = mailbox.messages
    assert message_["Bcc"] is None
    html = message_.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()
    assert "&lt;script&gt;" in html.get_content()


async def test_umlauts_and_accents_arrive_as_they_were_written(house: House, mailbox: Mailbox) -> None:
    mailer = Mailer(house.settings, house.clock)
    await mailer.send([letter(locale="es", display_name="Íñigo Núñez", cycle="Año 2026 — Ω")])
    (message_,) = mailbox.messages
    plain = message_.get_body(("plain",))
    assert plain is not None
    assert "Hola, Íñigo Núñez:" in plain.get_content()
    assert message_["Subject"] == "Hay una decisión sobre su retribución de Año 2026 — Ω"


async def test_a_mail_says_who_sent_it_that_a_program_did_and_the_same_id_every_time(house: House) -> None:
    mailer = Mailer(house.settings, house.clock)
    first, second = mailer.compose(letter()), mailer.compose(letter())
    assert first["From"] == "plumbline@mail.example.com"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Message-ID"] == second["Message-ID"] == f"<{CLAIM.delivery}@mail.example.com>"
