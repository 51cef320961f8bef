"""The project lints its own promises, and each lint has been seen to catch what it forbids."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture import promises

Promise = Callable[[str, ast.Module], Iterator[tuple[int, str]]]

RULES = "services/scoring/rules.py"
PLANTED: dict[str, tuple[str, str]] = {
    "commits_outside_the_database_module": ("services/scoring/commands.py", "async def f(tx):\n    await tx.commit()"),
    "clock_or_randomness_in_rules": (RULES, "from datetime import datetime\nx = datetime.now()"),
    "foreign_imports_in_rules": (RULES, "from shared.database import Database"),
    "environment_outside_settings": ("shared/web/body.py", "import os\nx = os.environ['A']"),
    "kafka_outside_messaging": ("services/scoring/api.py", "from aiokafka import AIOKafkaProducer"),
    "oversized": (RULES, "def f():\n" + "    x = 1\n" * 61),
    "swallowed_errors": (RULES, "try:\n    x = 1\nexcept Exception:\n    pass"),
    "forwarding": (RULES, "def f(a, b):\n    return g(a, b)"),
    "echoing_docstrings": (RULES, 'def band_of_score(score):\n    """The band of the score."""'),
}


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda p: p.__name__)
def test_the_source_keeps(promise: Promise) -> None:
    broken = [f"{path}:{line}: {what}" for path, tree in promises.sources() for line, what in promise(path, tree)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda p: p.__name__)
def test_a_planted_violation_is_caught_by(promise: Promise) -> None:
    path, source = PLANTED[promise.__name__]
    assert list(promise(path, ast.parse(source)))


def _lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_import_contracts_hold() -> None:
    result = _lint_imports(promises.ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("services/scoring/rules.py", "import services.ingest.model"),
        ("services/scoring/model.py", "import services.scoring.commands"),
        ("services/ingest/api.py", "import aiokafka"),
        ("shared/clock.py", "import services.ingest"),
        ("shared/contracts/ids.py", "import shared.database"),
        ("services/ingest/commands/editing.py", "import shared.web"),
        ("services/scoring/store/facts.py", "import shared.web.pages"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, module: str, line: str) -> None:
    for name in ("services", "shared", "deploy"):
        (tmp_path / name).symlink_to(promises.ROOT / name) if name == "deploy" else _copy_python(name, tmp_path)
    (tmp_path / ".importlinter").write_text((promises.ROOT / ".importlinter").read_text())
    planted = tmp_path / module
    target = planted if planted.exists() else planted.with_suffix("") / "__init__.py"
    target.write_text(f"{target.read_text()}\n{line}\n")
    result = _lint_imports(tmp_path)
    assert result.returncode == 1 and "BROKEN" in result.stdout, result.stdout + result.stderr


def _copy_python(name: str, target: Path) -> None:
    for path in (promises.ROOT / name).rglob("*.py"):
        copy = target / path.relative_to(promises.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
