"""The tables as queries speak of them; their keys, checks and policies stand in the migrations."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
)

_metadata = MetaData()


def _provider() -> Column[str]:
    return Column("provider_id", Text, primary_key=True)


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


providers = Table("providers", _metadata, _provider(), Column("name", Text), _moment("created_at"))

clients = Table(
    "clients",
    _metadata,
    _provider(),
    Column("client_id", Text, primary_key=True),
    Column("version", Integer, server_default="1"),
    Column("name", Text),
    Column("lines_of_business", ARRAY(Text)),
)

sources = Table(
    "sources",
    _metadata,
    _provider(),
    Column("source_id", Text, primary_key=True),
    Column("version", Integer, server_default="1"),
    Column("name", Text),
    Column("client_id", Text),
    Column("lines_of_business", ARRAY(Text)),
)

key_lookup = Table("key_lookup", _metadata, Column("key_id", Text, primary_key=True), Column("provider_id", Text))

source_keys = Table(
    "source_keys",
    _metadata,
    _provider(),
    Column("key_id", Text, primary_key=True),
    Column("source_id", Text),
    Column("digest", LargeBinary),
    Column("scopes", ARRAY(Text)),
    _moment("created_at"),
    Column("created_by", Text),
    _moment("expires_at"),
    _moment("revoked_at"),
)

source_agents = Table(
    "source_agents",
    _metadata,
    _provider(),
    Column("source_id", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("valid_to", Date),
    Column("employee_id", Text),
)

metrics = Table(
    "metrics",
    _metadata,
    _provider(),
    Column("metric", Text, primary_key=True),
    Column("version", Integer, server_default="1"),
    Column("name", Text),
    Column("owner", Text),
    Column("source_system", Text),
    Column("unit", Text),
    Column("direction", Text),
    Column("aggregation", Text),
    Column("precision", Integer),
    Column("missing_data", Text),
    Column("minimum_volume", Numeric),
    Column("developmental_only", Boolean),
)

employees = Table(
    "employees",
    _metadata,
    _provider(),
    Column("employee_id", Text, primary_key=True),
    Column("version", Integer, server_default="1"),
    Column("display_name", Text),
    Column("country", Text),
    Column("locale", Text),
    Column("content_hash", LargeBinary),
)

assignments = Table(
    "assignments",
    _metadata,
    _provider(),
    Column("employee_id", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("valid_to", Date),
    Column("role", Text),
    Column("grade", Text),
    Column("unit", Text),
    Column("manager", Text),
    Column("client_id", Text),
    Column("line_of_business", Text),
    Column("site", Text),
    Column("time_zone", Text),
)

absences = Table(
    "absences",
    _metadata,
    _provider(),
    Column("employee_id", Text, primary_key=True),
    Column("starts_on", Date, primary_key=True),
    Column("ends_on", Date),
)

conflicts = Table(
    "conflicts",
    _metadata,
    _provider(),
    Column("sequence", BigInteger, primary_key=True),
    Column("source_id", Text),
    Column("event_id", Text),
    Column("recorded_hash", LargeBinary),
    Column("refused_hash", LargeBinary),
    Column("refused_body", Text),
    _moment("received_at"),
    Column("trace_id", Text),
)

feedback = Table(
    "feedback",
    _metadata,
    _provider(),
    Column("feedback_id", Uuid, primary_key=True),
    Column("cycle_id", Text),
    Column("employee_id", Text),
    Column("rater_id", Text),
    Column("category", Text),
    Column("revision", Integer),
    Column("rating", Numeric),
    Column("comment", Text),
    _moment("submitted_at"),
    Column("submitted_by", Text),
)
