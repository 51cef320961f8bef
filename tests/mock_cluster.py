"""librdkafka's mock cluster, with the errors that a real one answers only on a bad day.

The Python binding starts such a cluster but offers no way to command it; the library itself does.
"""

from __future__ import annotations

import ctypes
from importlib.metadata import files
from typing import Self

HEARTBEAT, FETCH, OFFSET_COMMIT, PRODUCE = 12, 1, 8, 0
"""Kinds of requests, by their number in Kafka's protocol."""

_PRODUCER = 0


def _library() -> ctypes.CDLL:
    (path,) = [found for found in files("confluent-kafka") or [] if found.match("confluent_kafka.libs/*rdkafka*")]
    library = ctypes.CDLL(str(path.locate()))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, *arguments in (
        ("rd_kafka_conf_new", pointer),
        ("rd_kafka_conf_set", number, pointer, text, text, text, ctypes.c_size_t),
        ("rd_kafka_new", pointer, number, pointer, text, ctypes.c_size_t),
        ("rd_kafka_destroy", None, pointer),
        ("rd_kafka_mock_cluster_new", pointer, pointer, number),
        ("rd_kafka_mock_cluster_destroy", None, pointer),
        ("rd_kafka_mock_cluster_bootstraps", text, pointer),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, pointer, ctypes.c_int32),
        ("rd_kafka_mock_topic_create", number, pointer, text, number, number),
        ("rd_kafka_mock_push_request_errors_array", None, pointer, ctypes.c_int16, ctypes.c_size_t, pointer),
        ("rd_kafka_mock_broker_set_down", number, pointer, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", number, pointer, ctypes.c_int32),
        ("rd_kafka_mock_coordinator_set", number, pointer, text, text, ctypes.c_int32),
        ("rd_kafka_mock_partition_set_leader", number, pointer, text, ctypes.c_int32, ctypes.c_int32),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """Brokers are numbered from 1. Nothing is durable, and all ends with the block."""

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        configuration = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", None, 0)
        self._owner = self._library.rd_kafka_new(_PRODUCER, configuration, None, 0)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._owner, brokers)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._owner)

    def create(self, topic: str, partitions: int) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1) == 0

    def refuse_next(self, request: int, *errors: int) -> None:
        """Answer the next requests of this kind with these error codes."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)

    def down(self, broker: int = 1) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def up(self, broker: int = 1) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0

    def move_coordinator(self, group: str, broker: int) -> None:
        assert self._library.rd_kafka_mock_coordinator_set(self._cluster, b"group", group.encode(), broker) == 0

    def move_leader(self, topic: str, partition: int, broker: int) -> None:
        name = topic.encode()
        assert self._library.rd_kafka_mock_partition_set_leader(self._cluster, name, partition, broker) == 0
