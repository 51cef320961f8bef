"""The programs of the whole platform, in the order in which they start."""

import http.client
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local.child import Child
from deploy.local.environment import migration_environment, process_environment, service_environment
from deploy.local.layout import Stack
from deploy.services import SERVICES


def platform(stack: Stack) -> list[Child]:
    return [*infrastructure(stack), *(child for name in SERVICES for child in service(stack, name))]


def infrastructure(stack: Stack) -> list[Child]:
    return [
        _postgres(stack),
        *_kafka(stack),
        _module(stack, "issuer", {"state": stack.state / "issuer", "port": stack.port("issuer")}),
        _module(
            stack,
            "mailbox",
            {
                "path": stack.state / "mailbox.sqlite",
                "smtp-port": stack.port("smtp"),
                "http-port": stack.port("mailbox"),
            },
        ),
        _module(stack, "webhooks", {"path": stack.state / "webhooks.sqlite", "port": stack.port("webhooks")}),
        _module(stack, "collector", {"path": stack.spans, "port": stack.port("collector")}),
        Child(
            name="databases",
            command=_python(
                "deploy.local.databases",
                *("--state", str(stack.postgres.state), "--port", str(stack.postgres.port), *SERVICES),
            ),
            environment=process_environment(stack),
            after=("postgres",),
            once=True,
        ),
    ]


def service(stack: Stack, name: str) -> list[Child]:
    """A service, and the run of its migrations that comes before it."""
    module = f"services.{name}"
    migration = Child(
        name=f"{name}-migrations",
        command=_python(module, "migrate"),
        environment=migration_environment(name, stack),
        after=("databases",),
        once=True,
    )
    process = Child(
        name=name,
        command=_python(module),
        environment=service_environment(name, stack),
        after=(migration.name, "postgres", "issuer", "mailbox", "webhooks", "collector", *_topics_of(stack)),
        ready=answers(stack.port(name), "/readyz"),
        drain=30,
        ports=(stack.port(name),),
        address=stack.url(name),
    )
    return [migration, process]


def answers(port: int, path: str) -> Callable[[], bool]:
    """Asks whether a GET on this machine is answered with 200."""

    def ask() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ask


def listens(port: int) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    return ask


def _postgres(stack: Stack) -> Child:
    server = stack.postgres
    return Child(
        name="postgres",
        command=server.command(),
        environment=server.environment(),
        ready=server.ready,
        prepare=server.prepare,
        account=server.account,
        # To PostgreSQL, SIGTERM means to wait for clients to leave; SIGINT, to end them.
        stop_signal=signal.SIGINT,
        ports=(server.port,),
        address=f"127.0.0.1:{server.port}",
    )


def _kafka(stack: Stack) -> list[Child]:
    if stack.foreign_kafka:
        return [_topics(stack, after=())]
    if stack.mock_kafka:
        return [_mock_kafka(stack)]
    broker = stack.kafka
    process = Child(
        name="kafka",
        command=broker.command(),
        environment=broker.environment(),
        ready=broker.ready,
        prepare=broker.prepare,
        drain=30,
        ports=(broker.port, stack.port("kafka-controller")),
        address=broker.bootstrap,
    )
    return [process, _topics(stack, after=(process.name,))]


def _mock_kafka(stack: Stack) -> Child:
    port = stack.port("kafka")
    return Child(
        name="kafka",
        command=_python("deploy.local.kafka_mock", "--port", str(port)),
        environment=process_environment(stack),
        ready=listens(port),
        ports=(port,),
        address=f"{stack.kafka_bootstrap} (mock)",
    )


def _topics(stack: Stack, after: tuple[str, ...]) -> Child:
    return Child(
        name="topics",
        command=_python("shared.messaging.provision", "--bootstrap", stack.kafka_bootstrap),
        environment=process_environment(stack),
        after=after,
        once=True,
    )


def _topics_of(stack: Stack) -> tuple[str, ...]:
    """What must be ready before topics can be used: the mock broker makes them at first use."""
    if stack.foreign_kafka:
        return ("topics",)
    return ("kafka",) if stack.mock_kafka else ("kafka", "topics")


def _module(stack: Stack, name: str, options: Mapping[str, Path | int]) -> Child:
    arguments = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    return Child(
        name=name,
        command=_python(f"deploy.local.{name}", *arguments),
        environment=process_environment(stack),
        ready=answers(stack.port(name), "/.well-known/openid-configuration" if name == "issuer" else "/count"),
        ports=tuple(value for value in options.values() if isinstance(value, int)),
        address=f"{stack.url(name)}, SMTP on {stack.port('smtp')}" if name == "mailbox" else stack.url(name),
    )


def _python(module: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable)), "-m", module, *arguments]
