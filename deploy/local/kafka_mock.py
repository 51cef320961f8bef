"""librdkafka's mock broker behind a fixed port, for machines that cannot get Apache Kafka. Nothing is durable."""

import argparse
import asyncio
from contextlib import suppress

_CHUNK = 65536


async def serve(port: int) -> None:
    """Forwards the fixed port to the mock's own, random one, which clients learn from its metadata."""
    from confluent_kafka import Producer

    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    brokers = (await asyncio.to_thread(owner.list_topics, timeout=10)).brokers
    broker = next(iter(brokers.values()))

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(broker.host, broker.port)
        await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="deploy.local.kafka_mock", description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    asyncio.run(serve(arguments.parse_args().port))


if __name__ == "__main__":
    main()
