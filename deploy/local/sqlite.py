"""A SQLite file that one process writes and others may read meanwhile."""

import sqlite3
from pathlib import Path

from deploy.local.files import private_directory


def open_writable(path: Path, schema: str) -> sqlite3.Connection:
    private_directory(path.parent)
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")
    connection.executescript(schema)
    path.chmod(0o600)
    return connection


def open_readable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, timeout=5)
    connection.row_factory = sqlite3.Row
    return connection
