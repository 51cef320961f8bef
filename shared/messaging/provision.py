"""Creates the platform's topics: `python -m shared.messaging.provision --bootstrap HOST:PORT`.

Whatever no option says comes from the environment, as for the services but without their prefix:
KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_CA_FILE.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from shared.contracts.topics import TOPICS
from shared.messaging.kafka import create_topics
from shared.settings import KafkaSettings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m shared.messaging.provision", description=__doc__)
    parser.add_argument("--bootstrap", dest="kafka_bootstrap", metavar="HOST:PORT[,…]")
    parser.add_argument("--topic-prefix", dest="kafka_topic_prefix", metavar="PREFIX")
    parser.add_argument("--replication", type=int, default=1, metavar="N")
    given = vars(parser.parse_args(arguments))
    replication: int = given.pop("replication")
    try:
        settings = KafkaSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        parser.error("; ".join(f"{str(found['loc'][0]).upper()}: {found['msg']}" for found in wrong))
    created = asyncio.run(create_topics(settings, replication=replication))
    print(f"{len(created)} of {len(TOPICS)} topics were missing and are created")


if __name__ == "__main__":
    main()
