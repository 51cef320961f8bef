"""What can be decided on paper."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.notifications.model import Claim, DeliveryId, EndpointId, Kind, Message, NoticeId, Outcome, State, Verdict
from services.notifications.rules import wording
from services.notifications.rules.addresses import is_mail_address, is_public, url_objection
from services.notifications.rules.retries import DELAYS, LONGEST_WAIT, parse_retry_after, settle
from services.notifications.rules.webhooks import body_of, headers_of, show_secret
from shared.contracts.ids import EmployeeId
from tests.notifications.conftest import ACME

NOW = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
CLAIM = Claim(ACME, DeliveryId(UUID(int=1)), attempt=1, failures=0)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.127.255.255", "100.100.100.200", "192.0.0.8", "192.0.2.1"),
        *("192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "ff0e::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:4136:e378::1", "2001:10::1"),
        *("2001:20::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2606:4700::1111%1"),
        *("", "localhost", "8.8.8", "1.2.3.4.5", "0x7f.0.0.1", "2130706433"),
    ],
)
def test_an_address_that_could_be_inside_or_means_nobody_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.0.1.1"),
        *("198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1"),
    ],
)
def test_an_ordinary_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.com/", "ftp://hooks.example.com/", "//hooks.example.com/", "hooks.example.com", ""),
        *("https://", "https:///path", "https://user:pass@example.com/", "https://user@example.com/"),
        *("https://example.com/#part", "https://exa mple.com/", "https://example.com:0/", "https://example.com:99999/"),
        *("https://example.com\\@inside/", "https://bücher.example/", "https://example.com/\n", "https://[::1/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[64:ff9b::7f00:1]/", "https://169.254.169.254/latest"),
        "https://example.com/" + "a" * 2000,
    ],
)
def test_a_url_that_cannot_be_trusted_is_refused_with_a_reason(url: str) -> None:
    assert url_objection(url, allow_private=False)


def test_plain_http_and_private_addresses_are_for_those_who_set_it() -> None:
    assert url_objection("https://hooks.example.com:8443/a?b=c", allow_private=False) is None
    assert url_objection("https://8.8.8.8/", allow_private=False) is None
    assert url_objection("http://127.0.0.1:8027/hook", allow_private=True) is None
    assert url_objection("file:///etc/passwd", allow_private=True)


@pytest.mark.parametrize(
    "address", ["ana@example.com", "ana.cruz+hr@mail.example.co.uk", "o'neil@xn--bcher-kva.example"]
)
def test_one_plain_mailbox_is_a_mail_address(address: str) -> None:
    assert is_mail_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "ana", "ana@", "@example.com", "ana@example", "ana@@example.com", "ana@example..com", ".ana@example.com"),
        *("ana@-example.com", "ana@example.com\nBcc: x@y.z", "ana@example.com\n", "Ana <ana@example.com>"),
        *("ana@example.com,bob@example.com", "ana@example.com bob", '"a b"@example.com', "ana@[127.0.0.1]"),
        *("änna@example.com", "a" * 65 + "@example.com", "a@" + "b." * 130 + "com"),
    ],
)
def test_anything_else_is_not(address: str) -> None:
    assert not is_mail_address(address)


def outcome(verdict: Verdict, failures: int = 0, asked: timedelta | None = None) -> Outcome:
    return Outcome(Claim(ACME, CLAIM.delivery, failures + 1, failures), verdict, "http-500", asked)


@given(st.integers(0, 20), st.none() | st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_failure_is_due_again_later_and_never_later_than_the_longest_wait_until_it_is_dead(
    failures: int, asked: timedelta | None
) -> None:
    settled = settle(outcome(Verdict.RETRY, failures, asked), NOW)
    if failures >= len(DELAYS):
        assert (settled.state, settled.next_at) == (State.DEAD, None)
    else:
        assert settled.state is State.FAILED
        assert settled.next_at is not None
        assert NOW + DELAYS[failures] <= settled.next_at <= NOW + LONGEST_WAIT
    assert settled.error == "http-500"


def test_waits_grow() -> None:
    assert list(DELAYS) == sorted(set(DELAYS))


def test_delivered_and_never_are_final() -> None:
    assert settle(outcome(Verdict.DELIVERED), NOW).state is State.DELIVERED
    assert settle(outcome(Verdict.NEVER), NOW).state is State.DEAD


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        (" 0 ", timedelta(0)),
        ("99999999999999", timedelta(days=1)),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), timedelta(hours=1)),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), timedelta(0)),
        *((said, None) for said in (None, "", "soon", "-5", "1.5", "٣", "2026-07-01T10:00:00Z")),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_nothing_else(header: str | None, wait: timedelta | None) -> None:
    assert parse_retry_after(header, NOW) == wait


def message(*secrets: bytes, ids: dict[str, str | int] | None = None) -> Message:
    return Message(
        claim=CLAIM,
        endpoint=EndpointId(UUID(int=2)),
        url="https://hooks.example.com/",
        secrets=secrets,
        notice=NoticeId(UUID(int=3)),
        kind=Kind.AWARD_DECIDED,
        cause="award/r-1/e-1/1",
        recipient=EmployeeId("e-1"),
        ids=ids or {"run": "r-1", "version": 1},
        happened_at=NOW,
    )


@given(st.binary(min_size=24, max_size=64), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_what_we_sign_the_reference_implementation_believes(secret: bytes, ids: dict[str, str | int]) -> None:
    sent = message(secret, ids=ids)
    body = body_of(sent)
    headers = headers_of(sent, datetime.now(UTC), body)
    said = Webhook(show_secret(secret)).verify(body, headers)
    assert said["type"] == "notice.award-decided"
    assert said["data"]["notice"] == str(sent.notice)


def test_a_changed_body_another_secret_or_an_old_message_is_not_believed() -> None:
    secret = bytes(range(32))
    sent = message(secret)
    body = body_of(sent)
    headers = headers_of(sent, datetime.now(UTC), body)
    with pytest.raises(WebhookVerificationError):
        Webhook(show_secret(secret)).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(show_secret(bytes(32))).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        old = headers_of(sent, datetime.now(UTC) - timedelta(hours=1), body)
        Webhook(show_secret(secret)).verify(body, old)


def test_during_the_overlap_both_secrets_verify_the_same_message() -> None:
    new, old = bytes(range(32)), bytes(range(32, 64))
    sent = message(new, old)
    body = body_of(sent)
    headers = headers_of(sent, datetime.now(UTC), body)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        Webhook(show_secret(secret)).verify(body, headers)


def test_a_secret_is_shown_with_its_prefix_and_never_in_a_log_of_the_message() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    assert base64.b64decode(show_secret(secret).removeprefix("whsec_")) == secret
    assert "0123456789abcdef" not in repr(message(secret))


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de-AT", "de"), ("DE", "de"), ("es_MX", "es"), ("en-PH", "en"), ("fil-PH", "en"), ("", "en"), (None, "en")],
)
def test_a_locale_is_read_in_its_language_or_in_english(locale: str | None, language: str) -> None:
    assert wording.language_of(locale) == language


@pytest.mark.parametrize(
    ("language", "time_zone", "said"),
    [
        ("en", "UTC", "Date: 30 June 2026"),
        ("de", "Asia/Manila", "Datum: 1. Juli 2026"),
        ("es", "Asia/Manila", "Fecha: 1 de julio de 2026"),
        ("en", "Nowhere/At_All", "Date: 30 June 2026"),
    ],
)
def test_a_date_is_the_day_where_the_reader_works(language: str, time_zone: str, said: str) -> None:
    assert wording.local_date(language, datetime(2026, 6, 30, 20, 0, tzinfo=UTC), time_zone) == said


@given(st.text(max_size=60), st.sampled_from(Kind), st.sampled_from(sorted(wording.LANGUAGES)))
def test_no_name_of_a_cycle_can_break_a_line_or_be_taken_for_a_placeholder(
    name: str, kind: Kind, language: str
) -> None:
    said = wording.sentence(language, kind, name)
    assert said.title.isprintable()
    assert wording.one_line(name) in said.title or not wording.one_line(name)
