"""What happens to a delivery on a bad day: at least once, under one id, until it arrives or is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifications.app import mail_loop
from services.notifications.channels.mail import Mailer
from services.notifications.channels.webhooks import CONCURRENCY
from services.notifications.commands import deliveries as commands
from services.notifications.commands.deliveries import Round, claim_mail
from services.notifications.handlers.deliveries import DeliveryLoop
from services.notifications.handlers.topics import on_awards, on_classifications
from services.notifications.model import Channel, Claim, Letter, Message, Outcome, Verdict
from services.notifications.rules.retries import DELAYS, LEASE
from tests.notifications import events
from tests.notifications.conftest import ACME, House, Mailbox, Receiver

GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
DOWN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class Killed(BaseException):
    """What a killed process looks like from inside: nothing after it runs."""


async def eventually(seen: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(10):
        while await seen() != wanted:
            await asyncio.sleep(0.01)


async def queued(house: House) -> int:
    async with house.database.begin() as tx:
        return int(await tx.scalar(text("SELECT count(*) FROM timers")) or 0)


async def test_a_process_killed_between_send_and_record_sends_again_under_the_same_id(
    house: House, mailbox: Mailbox
) -> None:
    await house.contact("e-1")
    await house.told(on_awards, events.decided("e-1"))
    mailer = Mailer(house.settings, house.clock)

    async def send_and_die(letters: Sequence[Letter]) -> list[Outcome]:
        await mailer.send(letters)
        raise Killed

    with pytest.raises(Killed):
        await DeliveryLoop(house.database, house.clock, Channel.EMAIL, claim_mail, send_and_die).round()
    await house.deliver()
    assert len(mailbox.ids) == 1, "under the lease nobody else takes it"
    house.clock.forward(seconds=LEASE.total_seconds())
    await house.deliver()
    assert len(mailbox.ids) == 2
    assert len(set(mailbox.ids)) == 1
    (delivery,) = await house.deliveries()
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)
    assert await queued(house) == 0


async def test_a_round_cancelled_while_it_sends_is_repeated_after_the_lease(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.hangs = True
    round_ = asyncio.create_task(house.deliver())
    await receiver.arrived.wait()
    round_.cancel()
    await asyncio.gather(round_, return_exceptions=True)
    receiver.hangs = False
    house.clock.forward(seconds=LEASE.total_seconds())
    await house.deliver()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert receiver.hooks[0].body == receiver.hooks[1].body


async def test_a_claimer_that_lost_its_lease_cannot_undo_what_the_next_one_recorded(house: House) -> None:
    await house.contact("e-1")
    await house.told(on_awards, events.decided("e-1"))
    async with house.database.begin() as tx:
        slow = await claim_mail(tx, house.clock(), 10)
    house.clock.forward(seconds=LEASE.total_seconds())
    await mail_loop(house.settings, house.database, house.clock).round()
    failed = [Outcome(letter.claim, Verdict.RETRY, "smtp-timeout") for letter in slow.items]
    async with house.database.begin() as tx:
        await commands.record(tx, Channel.EMAIL, failed, house.clock())
    (delivery,) = await house.deliveries()
    assert delivery["state"] == "delivered"


async def test_of_a_slow_attempt_only_its_success_is_news_once_a_later_one_was_recorded(house: House) -> None:
    async def claimed() -> Claim:
        async with house.database.begin() as tx:
            (letter,) = (await claim_mail(tx, house.clock(), 10)).items
        return letter.claim

    async def recorded(claim: Claim, verdict: Verdict, error: str | None) -> tuple[object, object]:
        async with house.database.begin() as tx:
            await commands.record(tx, Channel.EMAIL, [Outcome(claim, verdict, error)], house.clock())
        (row,) = await house.deliveries()
        return row["state"], row["last_error"]

    await house.contact("e-1")
    await house.told(on_awards, events.decided("e-1"))
    slow = await claimed()
    house.clock.forward(seconds=LEASE.total_seconds())
    latest = await claimed()
    assert await recorded(latest, Verdict.RETRY, "smtp-450") == ("failed", "smtp-450")
    assert await recorded(slow, Verdict.NEVER, "smtp-timeout") == ("failed", "smtp-450")
    assert await recorded(slow, Verdict.DELIVERED, None) == ("delivered", None)
    assert await queued(house) == 0


async def test_what_one_process_is_claiming_another_passes_over_without_waiting(house: House) -> None:
    await house.contact("e-1")
    await house.contact("e-2")
    await house.told(on_awards, events.decided("e-1"), events.decided("e-2"))
    async with house.database.begin() as one, house.database.begin() as two, asyncio.timeout(5):
        first = await claim_mail(one, house.clock(), 1)
        second = await claim_mail(two, house.clock(), 10)
    assert len(first.items) == len(second.items) == 1
    assert first.items[0].claim.delivery != second.items[0].claim.delivery


async def test_two_processes_send_each_mail_once(house: House, mailbox: Mailbox) -> None:
    people = [f"e-{number}" for number in range(30)]
    for employee in people:
        await house.contact(employee)
    await house.told(on_awards, *(events.decided(employee) for employee in people))
    await asyncio.gather(*(mail_loop(house.settings, house.database, house.clock).round() for _ in range(4)))
    assert sorted(mailbox.recipients) == sorted(f"{employee}@example.com" for employee in people)


async def test_an_endpoint_that_is_down_is_tried_on_schedule_and_delivered_when_it_is_back(
    house: House, receiver: Receiver
) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [DOWN] * 3
    for failures, delay in enumerate(DELAYS[:3], start=1):
        await house.deliver()
        (delivery,) = await house.deliveries()
        assert (delivery["state"], delivery["attempts"], delivery["last_error"]) == ("failed", failures, "http-500")
        house.clock.forward(seconds=delay.total_seconds() - 1)
        await house.deliver()
        assert len(receiver.hooks) == failures, "not before it is due"
        house.clock.forward(seconds=1)
    await house.deliver()
    (delivery,) = await house.deliveries()
    assert (delivery["state"], delivery["attempts"], delivery["last_error"]) == ("delivered", 4, None)
    assert len(set(receiver.ids)) == 1


async def test_after_the_last_delay_a_delivery_is_dead_listed_and_can_be_tried_again_by_hand(
    house: House, receiver: Receiver
) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [DOWN] * (len(DELAYS) + 1)
    for _ in range(len(DELAYS) + 1):
        await house.deliver()
        house.clock.forward(seconds=DELAYS[-1].total_seconds())
    (dead,) = await house.deliveries(state="dead")
    assert (dead["attempts"], dead["next_at"]) == (len(DELAYS) + 1, None)
    assert await queued(house) == 0

    again = {**house.headers("operator"), "idempotency-key": "again"}
    assert (await house.http.post(f"/deliveries/{dead['id']}/retry", headers=again)).status_code == 202
    assert (await house.http.post(f"/deliveries/{dead['id']}/retry", headers=again)).status_code == 202
    await house.deliver()
    (delivered,) = await house.deliveries(state="delivered")
    assert delivered["attempts"] == len(DELAYS) + 2
    assert len(set(receiver.ids)) == 1
    refused = await house.http.post(
        f"/deliveries/{dead['id']}/retry", headers={**house.headers("operator"), "idempotency-key": "once more"}
    )
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:plumbline:problem:not-retryable"


async def test_deliveries_longest_due_go_first(house: House, receiver: Receiver) -> None:
    async def one(tx: AsyncConnection, now: datetime, _: int) -> Round[Message]:
        return await commands.claim_webhooks(tx, now, 1)

    loop = DeliveryLoop(house.database, house.clock, Channel.WEBHOOK, one, house.sender.send)
    await house.endpoint(receiver.url, "award-decided", "classification-published")
    receiver.answers = [DOWN]
    await house.told(on_awards, events.decided("e-1"))
    await loop.round()
    await house.told(on_classifications, events.published("e-1"))
    house.clock.forward(minutes=1)
    await loop.round()
    await loop.round()
    said = [b"award" in hook.body for hook in receiver.hooks]
    assert said == [True, False, True], "the new one was due before the retry"


async def test_a_receiver_may_ask_for_more_time_than_the_schedule_gives(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n"]
    await house.deliver()
    (delivery,) = await house.deliveries()
    due = (house.clock() + timedelta(seconds=600)).isoformat().replace("+00:00", "Z")
    assert (delivery["state"], delivery["next_at"]) == ("failed", due)


async def test_410_ends_the_delivery_and_disables_the_endpoint_until_somebody_enables_it(
    house: House, receiver: Receiver
) -> None:
    made = await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [GONE]
    await house.deliver()
    (dead,) = await house.deliveries()
    assert (dead["state"], dead["last_error"]) == ("dead", "http-410")
    (endpoint,) = await house.get("/webhook-endpoints", "auditor")
    assert (endpoint["enabled"], endpoint["disabled_reason"], endpoint["version"]) == (False, "gone", 2)

    await house.told(on_awards, events.decided("e-2"))
    assert len(await house.deliveries()) == 1, "a disabled endpoint gets nothing new"
    admin = {**house.headers("hr_admin"), "if-match": '"2"'}
    await house.http.patch(f"/webhook-endpoints/{made['id']}", json={"enabled": True}, headers=admin)
    await house.told(on_awards, events.decided("e-3"))
    await house.deliver()
    assert len(await house.deliveries(state="delivered")) == 1


async def test_what_waits_for_an_endpoint_that_is_deleted_is_dead(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    admin = {**house.headers("hr_admin"), "if-match": '"1"'}
    assert (await house.http.delete(f"/webhook-endpoints/{made['id']}", headers=admin)).status_code == 204
    await house.deliver()
    (dead,) = await house.deliveries()
    assert (dead["state"], dead["last_error"]) == ("dead", "endpoint-deleted")
    assert receiver.hooks == []


async def test_a_redirect_is_a_failure_and_is_not_followed(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    elsewhere = f"http://127.0.0.1:{receiver.port}/elsewhere".encode()
    receiver.answers = [b"HTTP/1.1 307 Temporary Redirect\r\nlocation: " + elsewhere + b"\r\ncontent-length: 0\r\n\r\n"]
    await house.deliver()
    assert [hook.path for hook in receiver.hooks] == ["/hook"]
    (delivery,) = await house.deliveries()
    assert (delivery["state"], delivery["last_error"]) == ("failed", "http-307")


async def test_a_receiver_that_never_stops_answering_counts_by_its_status(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 300_000]
    await house.deliver()
    (delivery,) = await house.deliveries()
    assert delivery["state"] == "delivered"


async def test_while_the_mail_server_is_down_mail_waits_and_webhooks_do_not(
    house: House, mailbox: Mailbox, receiver: Receiver
) -> None:
    await house.contact("e-1")
    await house.endpoint(receiver.url, "award-decided")
    await mailbox.close()
    await house.told(on_awards, events.decided("e-1"))
    await house.deliver()
    (mail,) = await house.deliveries(channel="email")
    assert (mail["state"], mail["last_error"]) == ("failed", "smtp-unreachable")
    assert len(receiver.hooks) == 1
    await mailbox.open()
    house.clock.forward(seconds=5)
    await house.deliver()
    (mail,) = await house.deliveries(channel="email")
    assert (mail["state"], mail["attempts"]) == ("delivered", 2)


@pytest.mark.parametrize(
    ("reply", "state", "error"),
    [
        ("550 no such user", "dead", "smtp-recipient-550"),
        ("450 come back later", "failed", "smtp-recipient-450"),
    ],
)
async def test_a_refused_mailbox_is_final_only_when_the_server_says_so_and_others_get_their_mail(
    house: House, mailbox: Mailbox, reply: str, state: str, error: str
) -> None:
    mailbox.refuse["e-1@example.com"] = reply
    for employee in ("e-1", "e-2"):
        await house.contact(employee)
    await house.told(on_awards, events.decided("e-1"), events.decided("e-2"))
    await house.deliver()
    found = {row["recipient"]: (row["state"], row["last_error"]) for row in await house.deliveries()}
    assert found == {"e-1": (state, error), "e-2": ("delivered", None)}
    assert "example.com" not in str(found)


async def test_a_contact_deleted_or_mail_switched_off_before_the_retry_ends_it(house: House, mailbox: Mailbox) -> None:
    await mailbox.close()
    for employee in ("e-1", "e-2"):
        await house.contact(employee)
    await house.told(on_awards, events.decided("e-1"), events.decided("e-2"))
    await house.deliver()
    await mailbox.open()
    admin = {**house.headers("hr_admin"), "if-match": '"1"'}
    assert (await house.http.delete("/contacts/e-1", headers=admin)).status_code == 204
    me = house.headers("employee", employee="e-2")
    await house.http.put("/preferences", json={"email": {"award-decided": False}}, headers=me)
    house.clock.forward(seconds=5)
    await house.deliver()
    found = {row["recipient"]: (row["state"], row["last_error"]) for row in await house.deliveries()}
    assert found == {"e-1": ("dead", "no-contact"), "e-2": ("dead", "switched-off")}
    assert mailbox.messages == []


async def test_a_batch_whose_commit_fails_leaves_neither_notice_nor_delivery(house: House) -> None:
    await house.contact("e-1")
    with pytest.raises(Killed):
        async with house.database.begin(ACME) as tx:
            await on_awards(tx, house.batch(events.decided("e-1")))
            raise Killed
    assert await house.inbox("e-1") == []
    assert await house.deliveries() == []
    assert await queued(house) == 0


async def test_an_endpoint_that_is_silent_is_paused_and_holds_up_nobody_else(house: House, receiver: Receiver) -> None:
    """Nobody listens on port 1: the first attempts find out, all others are spared."""
    silent = await house.endpoint("http://127.0.0.1:1/", "award-decided")
    people = [f"e-{number}" for number in range(60)]
    await house.told(on_awards, *(events.decided(employee) for employee in people))
    await house.deliver()
    first = await house.deliveries(limit="100")
    tried = [row for row in first if row["attempts"]]
    assert 1 <= len(tried) <= CONCURRENCY, "the others were not tried, and no attempt is counted"
    assert {row["state"] for row in first if not row["attempts"]} == {"pending"}
    (endpoint,) = await house.get("/webhook-endpoints", "operator")
    assert endpoint["paused_until"] == "2026-07-01T09:00:05Z"

    await house.endpoint(receiver.url, "classification-published")
    await house.told(on_classifications, events.published("e-1"))
    await house.deliver()
    assert len(receiver.hooks) == 1
    held = await house.deliveries(endpoint=silent["id"], state="failed", limit="100")
    assert len(held) == 60
    assert {row["next_at"] for row in held} == {"2026-07-01T09:00:05Z"}

    admin = {**house.headers("hr_admin"), "if-match": '"1"'}
    changed = await house.http.patch(f"/webhook-endpoints/{silent['id']}", json={"url": receiver.url}, headers=admin)
    assert changed.json()["paused_until"] is None
    house.clock.forward(seconds=5)
    await house.deliver()
    assert len(await house.deliveries(endpoint=silent["id"], state="delivered", limit="100")) == 60


async def test_what_goes_to_an_endpoint_that_stays_silent_ends_dead_and_by_hand_is_tried_at_once(
    house: House,
) -> None:
    made = await house.endpoint("http://127.0.0.1:1/", "award-decided")
    await house.told(on_awards, *(events.decided(f"e-{number}") for number in range(20)))
    for _ in range(len(DELAYS) + 2):
        await house.deliver()
        await house.deliver()
        house.clock.forward(seconds=DELAYS[-1].total_seconds())
    dead = await house.deliveries(endpoint=made["id"], state="dead")
    assert len(dead) == 20
    assert await queued(house) == 0

    again = {**house.headers("hr_admin"), "idempotency-key": "again"}
    assert (await house.http.post(f"/deliveries/{dead[0]['id']}/retry", headers=again)).status_code == 202
    await house.deliver()
    (row,) = await house.deliveries(endpoint=made["id"], state="failed")
    assert row["attempts"] == int(str(dead[0]["attempts"])) + 1


async def test_one_answer_ends_the_strikes_of_an_endpoint(house: House, receiver: Receiver) -> None:
    async def strikes() -> int:
        async with house.database.begin(ACME) as tx:
            return int(await tx.scalar(text("SELECT strikes FROM webhook_endpoints")) or 0)

    await house.endpoint(receiver.url, "award-decided")
    await house.told(on_awards, events.decided("e-1"))
    receiver.answers = [b""]  # it hangs up
    await house.deliver()
    (row,) = await house.deliveries()
    assert (row["last_error"], await strikes()) == ("connection-failed", 1)
    receiver.answers = [DOWN]
    house.clock.forward(seconds=5)
    await house.deliver()
    assert await strikes() == 0


async def test_an_outage_of_hours_is_waited_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = asyncio.Event()
    looks = 0

    async def unreachable(tx: AsyncConnection, now: datetime, limit: int) -> Round[Message]:
        nonlocal looks
        looks += 1
        if looks == 1_100:  # two to this power is no float any more
            stop.set()
        raise ConnectionResetError

    async def at_once(stop: asyncio.Event, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr("services.notifications.handlers.deliveries.pause", at_once)
    await DeliveryLoop(house.database, house.clock, Channel.WEBHOOK, unreachable, house.sender.send).run(stop)
    assert looks == 1_100


async def test_what_takes_longer_to_send_than_a_lease_stays_with_its_sender(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.contact("e-1")
    await house.told(on_awards, events.decided("e-1"))
    monkeypatch.setattr("services.notifications.handlers.deliveries.RENEWAL", timedelta(milliseconds=10))
    claimed_meanwhile = []

    async def due() -> datetime:
        async with house.database.begin() as tx:
            found: datetime = await tx.scalar(text("SELECT due_at FROM timers"))
            return found

    async def slowly(letters: Sequence[Letter]) -> list[Outcome]:
        for _ in range(3):
            house.clock.forward(seconds=LEASE.total_seconds() - 1)
            await eventually(due, house.clock() + LEASE)
            async with house.database.begin() as tx:
                claimed_meanwhile.append((await claim_mail(tx, house.clock(), 10)).claimed)
        return [Outcome(letter.claim, Verdict.DELIVERED) for letter in letters]

    await DeliveryLoop(house.database, house.clock, Channel.EMAIL, claim_mail, slowly).round()
    assert claimed_meanwhile == [0, 0, 0]
    assert await queued(house) == 0
