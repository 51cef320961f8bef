"""What the client systems remember of their posts: who lost an answer sends again, who has it does not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.files import private_directory


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to one request of events. `again` of them were answered as duplicates because of a lost answer."""

    batch: str
    accepted: int
    duplicates: int
    again: int
    refused: dict[str, int] = field(default_factory=dict)


class Journal:
    """One line for each answered request, kept beside the stack's data."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = private_directory(folder) / f"{name}.jsonl"
        self._known: dict[str, Posted] = {}
        self.resumed = False
        """Whether an earlier run may have sent what has no line here."""

    def open(self, born: str) -> None:
        """Forgets what was posted to a provider of the same name that is gone; `born` is when this one was made."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        # The last line may be cut short where a run was killed.
        kept = [line for line in lines if line.endswith("}")]
        if not kept or json.loads(kept[0]) != {"born": born}:
            self._path.write_text(json.dumps({"born": born}) + "\n")
            return
        self.resumed = True
        self._known = {posted.batch: posted for posted in (Posted(**json.loads(line)) for line in kept[1:])}
        self._path.write_text("\n".join(kept) + "\n")

    def __contains__(self, batch: str) -> bool:
        return batch in self._known

    def add(self, posted: Posted) -> None:
        self._known[posted.batch] = posted
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(posted)) + "\n")

    def accepted(self, stage: str = "") -> int:
        return sum(posted.accepted for posted in self._of(stage))

    def duplicates(self) -> int:
        return sum(posted.duplicates for posted in self._of(""))

    def again(self) -> int:
        return sum(posted.again for posted in self._of(""))

    def refused(self) -> Counter[str]:
        return sum((Counter(posted.refused) for posted in self._of("")), Counter())

    def _of(self, stage: str) -> list[Posted]:
        return [posted for posted in self._known.values() if posted.batch.startswith(stage)]
