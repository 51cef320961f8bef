"""What the project promises of its own source, as functions from source to the lines that break the promise."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
Violation = tuple[int, str]

_PURE = re.compile(r"^services/\w+/(rules|model)(/|\.py)")
_CLOCK = {"now", "utcnow", "today", "time", "monotonic", "perf_counter"}
_CLOCK_OWNERS = {"datetime", "date", "time"}
_IMPURE_MODULES = {"random", "secrets", "time", "os", "socket", "asyncio", "subprocess", "pathlib", "io"}
_PURE_LIBRARIES = {"numpy", "scipy"}
_SAID_ALIKE = {"shared.contracts.ids", "shared.field_problems", "shared.numbers"}
_STOP = frozenset(
    re.findall(r"\w+", "a an the of to for by and or is are in on with this that it as be from at if all get set given")
)


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the product and of the local stack, by its path from the root."""
    for folder in ("services", "shared", "deploy"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def commits_outside_the_database_module(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A commit below the edge splits a unit of work in two: after a crash half of it stands."""
    if path == "shared/database.py":
        return
    for node in ast.walk(tree):
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if isinstance(node, ast.Call) and called in ("commit", "rollback") and not node.args:
            yield node.lineno, f"{called}() outside shared/database.py"
        if isinstance(node, ast.Constant) and node.value in ("COMMIT", "ROLLBACK"):
            yield node.lineno, f"{node.value} outside shared/database.py"


def clock_or_randomness_in_rules(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A rule that reads the clock or a random source cannot be recomputed, and nobody can explain its result."""
    if not _PURE.match(path):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _CLOCK:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in _CLOCK_OWNERS:
                yield node.lineno, f"reads the clock: {owner}.{node.attr}"
        named = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if isinstance(node, ast.Attribute | ast.Name) and re.fullmatch(r"uuid\d", named):
            yield node.lineno, f"makes an identifier with {named}"
    for line, module in imports(tree):
        if module.split(".")[0] in _IMPURE_MODULES:
            yield line, f"imports {module}"


def foreign_imports_in_rules(path: str, tree: ast.Module) -> Iterator[Violation]:
    """Rules can be run on paper: they need no framework, no contract and no database."""
    if not _PURE.match(path):
        return
    service = ".".join(path.split("/")[:2])
    for line, module in imports(tree):
        top = module.split(".")[0]
        own = module.startswith((f"{service}.rules", f"{service}.model")) or module in _SAID_ALIKE
        if not own and top not in sys.stdlib_module_names and top not in _PURE_LIBRARIES:
            yield line, f"imports {module}"


def environment_outside_settings(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A variable read elsewhere is one that no settings class validates and no document lists."""
    if path.endswith("settings.py"):
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and getattr(node.value, "id", "") == "os"
        ):
            yield node.lineno, "reads the environment"


def kafka_outside_messaging(path: str, tree: ast.Module) -> Iterator[Violation]:
    """An event sent beside the outbox can be sent for a transaction that never committed."""
    if path.startswith("shared/messaging/") or path.startswith("deploy/"):
        return
    for line, module in imports(tree):
        if module.split(".")[0] in ("aiokafka", "confluent_kafka", "kafka"):
            yield line, f"imports {module}"


def oversized(path: str, tree: ast.Module) -> Iterator[Violation]:
    if "/migrations/" in path:
        return
    lines = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body), default=0)
    if lines > (600 if path.endswith("tables.py") or "/contracts/" in path else 400):
        yield lines, f"a module of {lines} lines: split it by noun"
    for function in functions(tree):
        size = (function.end_lineno or function.lineno) - function.lineno + 1
        if size > 60:
            yield function.lineno, f"{function.name} has {size} lines"


def swallowed_errors(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A broad handler that does not raise keeps a promise silently broken."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"BaseException"}
            if names & {"Exception", "BaseException"} and not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                yield node.lineno, "a broad except that does not raise"


def forwarding(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A function that only hands on its own arguments is a hop to read and nothing gained."""
    if not path.startswith("services/"):
        return
    for function in functions(tree):
        body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        if len(body) != 1 or not isinstance(body[0], ast.Return) or function.decorator_list:
            continue
        value = body[0].value
        call = value.value if isinstance(value, ast.Await) else value
        own = [a.arg for a in function.args.args + function.args.kwonlyargs if a.arg not in ("self", "cls")]
        if isinstance(call, ast.Call) and len(own) > 1:
            passed = [a.id for a in call.args if isinstance(a, ast.Name)]
            passed += [k.value.id for k in call.keywords if isinstance(k.value, ast.Name)]
            if sorted(own) == sorted(passed) and len(passed) == len(call.args) + len(call.keywords):
                yield function.lineno, f"{function.name} only forwards its arguments"


def echoing_docstrings(path: str, tree: ast.Module) -> Iterator[Violation]:
    """A docstring made of the function's own name tells a reader nothing and ages into a lie."""
    for function in functions(tree):
        text = ast.get_docstring(function) or ""
        said = [word for word in _words(text.split("\n\n")[0]) if word not in _STOP]
        arguments = function.args.args + function.args.kwonlyargs
        known = set(_words(function.name)) | {word for a in arguments for word in _words(a.arg)}
        if said and len(text) < 120 and sum(word in known for word in said) >= 0.75 * len(said):
            yield function.lineno, f"the docstring of {function.name} repeats its name"


def _words(text: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text.replace("_", " "))
    return [word.lower().rstrip("s") for word in re.findall(r"[A-Za-z]+", spaced)]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module


PROMISES: tuple[Callable[[str, ast.Module], Iterator[Violation]], ...] = (
    commits_outside_the_database_module,
    clock_or_randomness_in_rules,
    foreign_imports_in_rules,
    environment_outside_settings,
    kafka_outside_messaging,
    oversized,
    swallowed_errors,
    forwarding,
    echoing_docstrings,
)
