"""Where one local stack keeps its files and which ports it takes."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaBroker
from deploy.local.postgres import PostgresServer
from deploy.local.settings import LocalSettings
from deploy.services import SERVICES

PROJECT = Path(__file__).parents[2]
PORTS = {
    "postgres": 8432,
    "kafka": 8092,
    "kafka-controller": 8093,
    "issuer": 8099,
    "smtp": 8025,
    "mailbox": 8026,
    "webhooks": 8027,
    "collector": 4318,
    **{service: 8101 + place for place, service in enumerate(SERVICES)},
}


@dataclass(frozen=True)
class Stack:
    """One stack among possibly several: its state folder, what is added to every port, and which Kafka it uses."""

    state: Path
    offset: int = 0
    foreign_kafka: str | None = None
    mock_kafka: bool = False

    @classmethod
    def from_environment(cls) -> "Stack":
        given = LocalSettings.read()
        return cls(
            state=(given.plumbline_state or PROJECT / ".plumbline").absolute(),
            offset=given.plumbline_port_offset,
            foreign_kafka=given.plumbline_kafka_bootstrap,
            mock_kafka=given.plumbline_kafka_mock,
        )

    def environment(self) -> dict[str, str]:
        """The settings from which a child process builds the same stack."""
        settings = {"PLUMBLINE_STATE": str(self.state), "PLUMBLINE_PORT_OFFSET": str(self.offset)}
        if self.foreign_kafka:
            settings["PLUMBLINE_KAFKA_BOOTSTRAP"] = self.foreign_kafka
        if self.mock_kafka:
            settings["PLUMBLINE_KAFKA_MOCK"] = "1"
        return settings

    def port(self, name: str) -> int:
        return PORTS[name] + self.offset

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    @property
    def record(self) -> Path:
        return self.state / "supervisor.json"

    @property
    def spans(self) -> Path:
        return self.state / "spans.sqlite"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def postgres(self) -> PostgresServer:
        return PostgresServer(self.state / "postgres", self.port("postgres"))

    @property
    def kafka(self) -> KafkaBroker:
        return KafkaBroker(self.state / "kafka", self.port("kafka"))

    @property
    def kafka_bootstrap(self) -> str:
        return self.foreign_kafka or self.kafka.bootstrap
