"""A real Apache Kafka broker in KRaft combined mode, run from its published jars."""

import base64
import os
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from deploy.local.files import locked, private_directory, write_private
from deploy.local.java import find_java
from deploy.local.kafka_jars import Progress, cached_jars
from deploy.local.processes import LocalStackError, ProcessId, end, find_process, reaped, start_detached, wait_until

_METADATA_REQUEST = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">i?", 0, False)
_HEAP = ("-Xms256m", "-Xmx512m")
# A concurrent collector would mark all the time: what the broker keeps is most of this heap.
_JVM = ("-XX:+UseSerialGC", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8")


class KafkaBroker:
    """One broker, kept in `state`: clients at 127.0.0.1:`port`, its own controller at `port` + 1.

    Topics are never created by use. Data survives `stop` and, as far as the operating system had
    it, `kill`.
    """

    def __init__(self, state: Path, port: int) -> None:
        self.state = state.absolute()
        self.port = port
        self.bootstrap = f"127.0.0.1:{port}"
        self.log = self.state / "kafka.log"
        self._properties = self.state / "server.properties"
        self._data = self.state / "data"
        self._formatted = self.state / "formatted"

    def start(self, within: float = 90, progress: Progress | None = None) -> None:
        """Starts the broker in the background and returns once it serves; a running one is left alone."""
        self.prepare(progress)
        with locked(self.state / "start.lock"):
            process = self.process() or start_detached(self.command(), self.log, self.environment())
            wait_until(lambda: self.ready() or not process.alive(), within)
        if not self.ready():
            raise LocalStackError(f"Kafka did not start on port {self.port}; see {self.log}")

    def stop(self, within: float = 30) -> None:
        """Ends the broker after it has flushed and closed its logs."""
        if process := self.process():
            if not end(process, signal.SIGTERM, within):
                raise LocalStackError(f"Kafka (pid {process.pid}) does not stop; see {self.log}")
            reaped(process, 5)

    def kill(self) -> None:
        """Kills the broker with SIGKILL, as a machine would that loses power, but for what the kernel had buffered."""
        if process := self.process():
            end(process, signal.SIGKILL, 10)

    def destroy(self) -> None:
        """Kills the broker and deletes every topic and offset with it."""
        self.kill()
        shutil.rmtree(self.state, ignore_errors=True)

    def process(self) -> ProcessId | None:
        """The living broker of this state folder, whoever started it."""
        return find_process(f"kafka.Kafka {self._properties}", "java")

    def ready(self) -> bool:
        """True once the broker is registered with its controller: before that it has no topics to offer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.settimeout(2)
                connection.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
                answer = connection.recv(16, socket.MSG_WAITALL)
        except OSError:
            return False
        # Size, correlation id, throttle time, number of brokers.
        return len(answer) == 16 and struct.unpack(">iiii", answer)[3] > 0

    def prepare(self, progress: Progress | None = None) -> None:
        """Fetches the jars, writes the settings and formats the log folder where that has not been done."""
        private_directory(self.state)
        with locked(self.state / "prepare.lock"):
            cached_jars(progress)
            write_private(self._properties, "".join(f"{key}={value}\n" for key, value in self._settings().items()))
            if not self._formatted.exists():
                self._format()

    def command(self) -> list[str]:
        return [
            *self._java(cached_jars(), _HEAP, log_level="warn"),
            "kafka.Kafka",
            str(self._properties),
        ]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}

    def console_consumer(
        self,
        topic: str,
        *,
        max_messages: int | None = None,
        timeout: float | None = None,
        bootstrap: str | None = None,
    ) -> list[str]:
        """The arguments of the broker's own console consumer: from the beginning, with headers and keys.

        It runs until interrupted unless told how many records to read or how long to wait for one.
        """
        shown = ("partition", "offset", "timestamp", "key", "headers", "value")
        formatting = [part for name in shown for part in ("--property", f"print.{name}=true")]
        limits = [] if max_messages is None else ["--max-messages", str(max_messages)]
        limits += [] if timeout is None else ["--timeout-ms", str(int(timeout * 1000))]
        return [
            *self._java(cached_jars(), ("-Xmx128m", "-XX:TieredStopAtLevel=1"), log_level="warn"),
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--bootstrap-server", bootstrap or self.bootstrap, "--topic", topic, "--from-beginning"),
            *formatting,
            *limits,
        ]

    def _java(self, jars: Sequence[Path], memory: Sequence[str], log_level: str) -> list[str]:
        logging = {
            "defaultLogLevel": log_level,
            "showDateTime": "true",
            "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "log.kafka.server.BrokerServer": "info",
            "log.kafka.server.KafkaRaftServer": "info",
        }
        properties = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in logging.items()]
        classpath = os.pathsep.join(str(jar) for jar in jars)
        return [str(find_java()), *memory, *_JVM, *properties, "-cp", classpath]

    def _format(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        java = self._java(cached_jars(), ("-Xmx128m", "-XX:TieredStopAtLevel=1"), log_level="error")
        options = ("--cluster-id", _cluster_id(), "--config", str(self._properties))
        done = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", *options],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalStackError(f"Kafka could not format {self._data}: {done.stderr.strip() or done.stdout.strip()}")
        self._formatted.touch()

    def _settings(self) -> dict[str, str | int]:
        controller = f"127.0.0.1:{self.port + 1}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._data),
            "auto.create.topics.enable": "false",
            "num.partitions": 12,
            "log.retention.hours": 14 * 24,
            "offsets.topic.replication.factor": 1,
            # Fifty partitions of offsets cost a laptop seconds at every start; they cannot be changed later.
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # A killed broker is refused until its former self counts as dead: nine seconds by default.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
        }


def _cluster_id() -> str:
    """A random id in the alphabet Kafka wants; one that began with a dash would be taken for an option."""
    random = uuid.uuid4().bytes
    return base64.urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).decode().rstrip("=")
