"""What was compared and what was not equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it should be. `column` is empty where a whole row is missing or too many."""

    database: str
    table: str
    key: str
    column: str
    stored: str
    computed: str

    def __str__(self) -> str:
        where = f"{self.database}.{self.table} {self.key}"
        return f"{where} {self.column}".rstrip() + f": stored {self.stored}, computed {self.computed}"


@dataclass(frozen=True, slots=True)
class Report:
    """`checked` counts what was compared by kind; `waiting` is work that had not arrived when it was."""

    checked: Mapping[str, int]
    differences: tuple[Difference, ...]
    waiting: Mapping[str, int]
    seconds: float

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Findings:
    """Collects while the comparison goes on. Numbers are equal by value: 1.50 is 3/2."""

    checked: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def count(self, kind: str, number: int = 1) -> None:
        self.checked[kind] += number

    def compare(
        self, database: str, table: str, key: object, stored: Mapping[str, object], computed: Mapping[str, object]
    ) -> None:
        """Column by column of `computed`."""
        for column, value in computed.items():
            if not _equal(stored[column], value):
                self._add(database, table, key, column, _shown(stored[column]), _shown(value))

    def missing(self, database: str, table: str, key: object, computed: object = "a row") -> None:
        self._add(database, table, key, "", "no row", _shown(computed))

    def unexpected(self, database: str, table: str, key: object, stored: object = "a row") -> None:
        self._add(database, table, key, "", _shown(stored), "no row")

    def _add(self, database: str, table: str, key: object, column: str, stored: str, computed: str) -> None:
        named = "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
        self.differences.append(Difference(database, table, named, column, stored, computed))


def _equal(one: object, other: object) -> bool:
    return _plain(one) == _plain(other)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return Fraction(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value


def _shown(value: object) -> str:
    """Numbers with a finite decimal form in full, others as a fraction."""
    match value:
        case None:
            return "nothing"
        case bool() | str():
            return str(value)
        case Decimal():
            return f"{value.normalize():f}"
        case Fraction():
            return _decimal_or_fraction(value)
        case date():
            return value.isoformat()
        case Mapping():
            return "{" + ", ".join(f"{key}: {_shown(found)}" for key, found in value.items()) + "}"
        case list() | tuple():
            return "(" + ", ".join(map(_shown, value)) + ")"
    return str(value)


def _decimal_or_fraction(value: Fraction) -> str:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1 or value.denominator > 10**30:
        return str(value)
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    whole = digits[: len(digits) - places]
    return ("-" if value < 0 else "") + whole + (f".{digits[-places:]}" if places else "")
