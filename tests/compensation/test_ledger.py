"""What the database itself refuses, whatever the code above it does."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.compensation.conftest import House
from tests.compensation.events import ACME

_COLUMNS = """provider_id, employee, plan, cycle, component, sequence, before, amount, after, currency, run, cause,
              comment, posted_at, posted_by"""


def _entry(component: str, sequence: int, before: int, amount: int, after: int, cause: str) -> str:
    return f"""INSERT INTO ledger_entries ({_COLUMNS})
               VALUES ('acme', 'ben', 'annual', 'fy2025', '{component}', {sequence}, {before}, {amount}, {after},
                       'EUR', 'r-1', '{cause}', 'by hand', now(), 'nobody')"""  # noqa: S608 - no one's input


_REFUSED = {
    "a second first entry": _entry("merit", 1, 0, 144_000, 144_000, "run/other"),
    "the same cause at the next place": _entry("merit", 2, 144_000, 144_000, 288_000, "run/r-1"),
    "a start that is not the predecessor's end": _entry("merit", 2, 0, 144_000, 144_000, "classification/2"),
    "a place without a predecessor": _entry("merit", 3, 144_000, 1, 144_001, "classification/2"),
    "an amount that is not the difference": _entry("merit", 2, 144_000, 5, 144_006, "classification/2"),
    "a first entry that does not start at nothing": _entry("lump-sum", 1, 100, 5, 105, "classification/2"),
    "more taken back than was paid": _entry("merit", 2, 144_000, -144_001, -1, "classification/2"),
    "an entry of nothing": _entry("merit", 2, 144_000, 0, 144_000, "classification/2"),
    "an edit": "UPDATE ledger_entries SET amount = 1",
    "a deletion": "DELETE FROM ledger_entries",
    "another amount in an approved run": "UPDATE run_items SET amount = 1",
    "other lines in an approved run": "UPDATE run_subjects SET lines = '[]'",
    "one person less in an approved run": "DELETE FROM run_subjects WHERE employee = 'ben'",
    "one person more in an approved run": """INSERT INTO run_subjects (provider_id, run, employee, inputs, status)
                                             VALUES ('acme', 'r-1', 'eve', '{}', 'eligible')""",
    "another pool in an approved run": "UPDATE run_pools SET amount = amount + 1, undistributed = undistributed + 1",
    "an approved run that is opened again": "UPDATE runs SET state = 'stale', approved_at = NULL, approved_by = NULL",
    "another published plan": "UPDATE plan_versions SET content = '{}'",
}


@pytest.fixture
async def paid(trio: House) -> House:
    await trio.computed()
    assert (await trio.approved()).status_code == 200
    return trio


async def test_the_database_refuses_a_second_payment_whatever_the_code_does(paid: House) -> None:
    before = await paid.ledger()

    for what, statement in _REFUSED.items():
        with pytest.raises(DBAPIError) as refused:
            async with paid.database.begin(ACME) as tx:
                await tx.execute(text(statement))
        assert str(getattr(refused.value.orig, "sqlstate", "")).startswith("23"), what

    assert await paid.ledger() == before
    assert await paid.verified()


async def test_the_right_next_entry_is_taken(paid: House) -> None:
    async with paid.database.begin(ACME) as tx:
        await tx.execute(text(_entry("merit", 2, 144_000, 6_000, 150_000, "classification/2")))

    assert len(await paid.ledger()) == 6


async def test_verification_names_a_chain_that_does_not_come_to_its_award(paid: House) -> None:
    async with paid.database.begin(ACME) as tx:
        await tx.execute(text(_entry("merit", 2, 144_000, 6_000, 150_000, "classification/2")))

    found = (await paid.admin.get("/ledger/verification")).json()

    assert found["holds"] is False
    assert found["broken"] == [
        {"employee": "ben", "plan": "annual", "cycle": "fy2025", "component": "merit", "reason": "award"}
    ]


async def test_a_pool_that_does_not_close_cannot_be_stored(trio: House) -> None:
    await trio.computed()

    with pytest.raises(DBAPIError, match="closes_to_the_last_unit"):
        async with trio.database.begin(ACME) as tx:
            await tx.execute(text("UPDATE run_pools SET awarded = awarded - 1"))


async def test_the_ledger_can_be_paged_and_taken_as_csv(paid: House) -> None:
    first = (await paid.admin.get("/ledger?limit=3")).json()
    rest = (await paid.admin.get(f"/ledger?limit=3&cursor={first['next']}")).json()
    csv = await paid.admin.get("/ledger?employee=ben", accept="text/csv")

    assert [(e["employee"], e["component"]) for e in first["items"] + rest["items"]] == [
        ("ada", "bonus"),
        ("ada", "merit"),
        ("ben", "bonus"),
        ("ben", "merit"),
        ("cyd", "merit"),
    ]
    assert len(csv.text.splitlines()) == 3
