"""A consumer as a process of its own, to be stopped: `python -m tests.shared.worker URL BOOTSTRAP PREFIX`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from pydantic import SecretStr

from shared import database
from shared.contracts.topics import KPI_EVENTS
from shared.database import Database
from shared.messaging.kafka import KafkaReader
from shared.messaging.supervise import Part, run
from shared.settings import KafkaSettings
from tests.shared.ledger import SERVICE, Ledger

FROZEN_SECONDS = 2


async def slowly(_: Sequence[str]) -> None:
    await asyncio.sleep(0.05)


async def main(url: str, bootstrap: str, prefix: str) -> None:
    settings = KafkaSettings(kafka_bootstrap=bootstrap, kafka_topic_prefix=prefix, kafka_session_timeout_ms=1_000)
    database.FROZEN_SECONDS = FROZEN_SECONDS
    ledger = Ledger(Database(SecretStr(url)), KPI_EVENTS, before_effect=slowly)
    consumer = ledger.consumer(lambda: KafkaReader(settings, SERVICE, [KPI_EVENTS.name]), batch_size=5)
    await run([Part("consumer", consumer.run)], 10)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
