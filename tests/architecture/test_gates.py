"""The gates of `make check` close: each refuses a violation planted for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def gate(*command: str, source: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, input=source, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("F401", "import os\n"),
        ("S608", 'def find(tx, name):\n    return tx.execute(f"SELECT 1 FROM people WHERE name = {name}")\n'),
        ("DTZ005", "from datetime import datetime\n\nNOW = datetime.now()\n"),
    ],
)
def test_ruff_refuses(rule: str, source: str) -> None:
    done = gate("ruff", "check", "--output-format=concise", "--stdin-filename=services/planted.py", "-", source=source)
    assert done.returncode == 1
    assert rule in done.stdout


PLANTED = '''"""Three violations in a clean file."""


def double(amount):
    return amount + amount


def first(rows: list) -> None:
    print(rows)


def pay(cents: int) -> int:
    return cents


pay("12")
'''


def test_ruff_lets_a_clean_file_pass() -> None:
    source = '"""Clean."""\n\n\ndef double(cents: int) -> int:\n    return cents * 2\n'
    done = gate("ruff", "check", "--stdin-filename=services/planted.py", "-", source=source)
    assert done.returncode == 0, done.stdout


def test_mypy_refuses_what_is_not_typed_and_only_that(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    options = ["--config-file=pyproject.toml", "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}"]
    done = gate("mypy", *options, str(planted))
    found = [(int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert found == [(4, "no-untyped-def"), (8, "type-arg"), (16, "arg-type")]
