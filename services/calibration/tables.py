"""The tables as queries see them; constraints, indexes and row security are the migrations'."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, MetaData, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text) for name in names]


def _placement() -> list[Column[str]]:
    return _texts("role", "grade", "unit", "manager", "client", "line_of_business", "site")


employees = Table(
    "employees", metadata, *_texts("provider_id", "employee", "display_name"), Column("version", BigInteger)
)

superiors = Table(
    "superiors",
    metadata,
    *_texts("provider_id", "employee", "manager"),
    Column("since", Date),
    Column("until", Date),
)

cycles = Table(
    "cycles",
    metadata,
    *_texts("provider_id", "cycle", "state"),
    Column("version", BigInteger),
    Column("ends_on", Date),
    Column("bands", ARRAY(Text)),
    Column("scorecards", Integer),
)

scorecards = Table(
    "scorecards",
    metadata,
    *_texts("provider_id", "cycle", "employee", "proposed_band"),
    *_placement(),
    Column("version", BigInteger),
    Column("counted", Boolean),
    Column("score", Numeric),
    Column("coverage", Numeric),
    Column("parts", JSONB),
    Column("as_of", DateTime(timezone=True)),
)

late_scorecards = Table(
    "late_scorecards",
    metadata,
    *_texts("provider_id", "cycle", "employee", "proposed_band"),
    Column("version", BigInteger),
    Column("score", Numeric),
    Column("as_of", DateTime(timezone=True)),
)

manager_ratings = Table(
    "manager_ratings",
    metadata,
    *_texts("provider_id", "cycle", "employee", "rater", "feedback"),
    Column("revision", BigInteger),
    Column("rating", Numeric),
    Column("submitted_at", DateTime(timezone=True)),
)

sessions = Table(
    "sessions",
    metadata,
    *_texts("provider_id", "session", "name", "cycle", "state", "owner", "facilitator", "created_by", "published_by"),
    *(Column(name, ARRAY(Text)) for name in ("units", "clients", "lines_of_business", "grades", "participants")),
    *(
        Column(name, DateTime(timezone=True))
        for name in ("deadline", "created_at", "opened_at", "locked_at", "published_at")
    ),
    Column("version", BigInteger),
)

subjects = Table(
    "subjects",
    metadata,
    *_texts("provider_id", "session", "employee", "cycle", "state", "proposed_band", "band"),
    Column("version", BigInteger),
    Column("scorecard_version", BigInteger),
    Column("score", Numeric),
    Column("coverage", Numeric),
    Column("decided", BigInteger),
    Column("released", Boolean),
)

decisions = Table(
    "decisions",
    metadata,
    *_texts("provider_id", "session", "employee", "stage", "act", "actor", "actor_employee"),
    *_texts("before_state", "before_band", "after_state", "after_band", "rationale_code", "rationale_text", "reason"),
    Column("version", BigInteger),
    Column("at", DateTime(timezone=True)),
    Column("scorecard_version", BigInteger),
)

revisions = Table(
    "revisions",
    metadata,
    *_texts("provider_id", "cycle", "employee", "session", "state", "band"),
    Column("number", Integer),
    Column("scorecard_version", BigInteger),
    Column("decided", BigInteger),
    Column("opened_at", DateTime(timezone=True)),
)

classifications = Table(
    "classifications",
    metadata,
    *_texts("provider_id", "cycle", "employee", "session", "band", "proposed_band", "manager_band", "published_by"),
    *_placement(),
    *(Column(name, BigInteger) for name in ("version", "supersedes", "decision", "scorecard_version")),
    *(Column(name, Numeric) for name in ("manager_rating", "score")),
    *(Column(name, DateTime(timezone=True)) for name in ("decided_at", "published_at")),
    Column("parts", JSONB),
)
