"""The short set of what `make faults` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.faults.rig import running
from tests.faults.scenarios import SCENARIOS, SHORT
from tests.local.conftest import free_offset


@pytest.mark.parametrize("name", ["kills", "poison"])
async def test_afterwards_everything_holds(name: str, tmp_path: Path) -> None:
    async with running(tmp_path / "state", Console(quiet=True), free_offset()) as rig:
        outcome = await SCENARIOS[name](rig, SHORT)
    assert outcome.wrong == [], outcome.seen
