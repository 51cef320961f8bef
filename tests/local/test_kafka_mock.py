"""What happens where Apache Kafka's jars cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.children import listens
from deploy.local.layout import PROJECT
from deploy.local.processes import wait_until
from tests.local.conftest import free_port

_CHOOSE = """
from pathlib import Path
from deploy.local.layout import Stack
from deploy.local.lifecycle import choose_kafka
print(choose_kafka(Stack(Path("unused")), print, lambda done, total: None).mock_kafka)
"""


def test_without_jars_and_network_the_mock_broker_is_chosen_and_that_is_said(tmp_path: Path) -> None:
    unreachable = "http://127.0.0.1:9"
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "HTTPS_PROXY": unreachable,
        "https_proxy": unreachable,
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHOOSE], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert said[0].startswith("cannot download ")
    assert said[-2] == "Instead of Apache Kafka, librdkafka's mock broker starts: events do not survive a stop."
    assert said[-1] == "True"


@pytest.fixture
def mock_broker() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "deploy.local.kafka_mock", "--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        assert wait_until(listens(port), 15)
        yield f"127.0.0.1:{port}"
        process.terminate()


async def test_events_pass_through_the_mock_broker(mock_broker: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=mock_broker, enable_idempotence=True) as producer:
        await producer.send_and_wait("kpi-events", b"value", key=b"employee-1", headers=[("ce_id", b"event-1")])
    consumer = AIOKafkaConsumer(
        "kpi-events", bootstrap_servers=mock_broker, group_id="scoring", auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
    assert (record.key, record.value, record.headers) == (b"employee-1", b"value", (("ce_id", b"event-1"),))
