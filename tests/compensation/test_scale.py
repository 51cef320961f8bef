"""Twenty thousand people in one run, in well under a minute."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from tests.compensation import events
from tests.compensation.conftest import House
from tests.compensation.events import ACME

PEOPLE = 20_000

_FILL = (
    """INSERT INTO employees SELECT :provider, 'e-' || n, 1,
         jsonb_build_array(jsonb_build_object('valid_from', '2020-01-01', 'valid_to', NULL, 'client', 'globex',
             'unit', 'u-' || n / 20, 'line_of_business', 'voice', 'site', 'lisbon')),
         jsonb_build_array(jsonb_build_object('first', date '2024-06-01' + (n % 500), 'last', NULL)), '[]'
       FROM generate_series(1, :people) AS n""",
    """INSERT INTO classifications SELECT :provider, 'fy2025', 'e-' || n, 1,
         CASE WHEN n % 50 = 0 THEN NULL ELSE (ARRAY['below', 'meets', 'exceeds'])[1 + n % 3] END,
         CASE WHEN n % 50 = 0 THEN NULL ELSE 60 + (n % 7001) / 100.0 END,
         1, 'g5', 'u-' || n / 20, 'globex', 'voice', 'lisbon'
       FROM generate_series(1, :people) AS n""",
    """INSERT INTO pay SELECT :provider, 'e-' || n, 1,
         jsonb_build_array(jsonb_build_object('valid_from', '2020-01-01', 'valid_to', NULL,
             'base', 3500000 + (n * 7919) % 3000000, 'currency', 'EUR', 'fte', '0.8', 'target_bonus_percent', '10')),
         now(), 'load'
       FROM generate_series(1, :people) AS n""",
)


@pytest.mark.long
async def test_twenty_thousand_people_are_computed_and_approved_within_a_minute(house: House) -> None:
    await house.told(events.cycle(scorecards=PEOPLE))
    await house.planned(budget=events.budget(1_500_000_000, 5_000_000_000))
    async with house.database.begin(ACME) as tx:
        for statement in _FILL:
            await tx.execute(text(statement), {"provider": ACME, "people": PEOPLE})

    started, busy = time.monotonic(), time.process_time()
    run = await house.computed()
    computed = time.monotonic()
    answer = await house.approved()
    approved = time.monotonic()

    assert answer.status_code == 200, answer.text
    assert run.subjects == run.assessed == PEOPLE
    assert all(pool.closes and pool.binds and pool.undistributed == 0 for pool in run.pools), run.pools
    busy = time.process_time() - busy
    print(f"computed in {computed - started:.1f} s, approved in {approved - computed:.1f} s, {busy:.1f} s of CPU here")
    assert approved - started < 60
    assert await house.verified()
