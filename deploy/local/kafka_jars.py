"""The broker's jars: which ones, with which contents, and where they are kept.

`kafka-jars.txt` lists every jar with its SHA-256; `python -m deploy.local.kafka_jars` writes it anew
after `KAFKA_VERSION` has been changed.
"""

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from deploy.local.files import locked
from deploy.local.processes import LocalStackError
from deploy.local.settings import LocalSettings

KAFKA_VERSION = "4.1.2"
_LIST = Path(__file__).with_name("kafka-jars.txt")
_ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_TOOLS = f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}"
# Kafka Connect comes with the tools, with a web server behind it; neither broker nor consumer uses it.
_NOT_WANTED = ("connect-runtime", "connect-json", "connect-api")
_ATTEMPTS = 3

Progress = Callable[[int, int], None]


class JarsUnavailable(LocalStackError):
    """The jars are neither in the cache nor to be had from where jgo gets them."""


@dataclass(frozen=True)
class Jar:
    coordinate: str
    digest: str

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def cached_jars(progress: Progress | None = None, cache: Path | None = None) -> list[Path]:
    """The verified jars, downloaded if the cache lacks them; a jar with other contents than listed is refused."""
    folder = cache or default_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalStackError(f"{error}: Kafka's jars are kept under XDG_CACHE_HOME, or .cache at home") from error
    jars = listed_jars()
    with locked(folder / ".lock"):
        missing = [jar for jar in jars if not (folder / jar.filename).exists()]
        if missing:
            _download(missing, folder, progress or (lambda done, total: None))
        for jar in jars:
            _verify(folder / jar.filename, jar)
    return [folder / jar.filename for jar in jars]


def listed_jars() -> list[Jar]:
    lines = (line.split() for line in _LIST.read_text().splitlines() if line and not line.startswith("#"))
    return [Jar(coordinate, digest) for digest, coordinate in lines]


def default_cache() -> Path:
    return LocalSettings.read().xdg_cache_home / "plumbline" / f"kafka-{KAFKA_VERSION}"


def _download(jars: list[Jar], folder: Path, progress: Progress) -> None:
    progress(0, len(jars))
    with tempfile.TemporaryDirectory(dir=folder) as draft, ThreadPoolExecutor(max_workers=6) as pool:
        pending = [pool.submit(_fetch, jar, Path(draft)) for jar in jars]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                jar, path = future.result()
                _verify(path, jar)
                path.replace(folder / jar.filename)
                progress(done, len(jars))
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(jar: Jar, draft: Path) -> tuple[Jar, Path]:
    from jgo.maven import MavenContext

    for attempt in range(1, _ATTEMPTS + 1):
        # An interrupted download leaves half a file, which the next attempt would take for a whole one.
        repository = draft / f"{jar.filename}.{attempt}"
        try:
            context = MavenContext(repo_cache=repository, timeout=30)
            return jar, Path(context.create_dependency(jar.coordinate).artifact.resolve())
        except (OSError, RuntimeError) as error:
            if attempt == _ATTEMPTS:
                raise JarsUnavailable(f"cannot download {jar.filename}: {error}") from error
    raise AssertionError("unreachable")


def _verify(path: Path, jar: Jar) -> None:
    with path.open("rb") as file:
        found = _sha256(file.read())
    if found != jar.digest:
        raise LocalStackError(
            f"{path} is not the {jar.coordinate} this project was tested with (SHA-256 {found}, expected "
            f"{jar.digest}); delete it to download it again"
        )


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()


def _resolve(repository: Path) -> Iterator[Jar]:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repository, timeout=30)
    excluded = [context.project("org.apache.kafka", name) for name in _NOT_WANTED]
    wanted = [context.create_dependency(root) for root in _ROOTS] + [context.create_dependency(_TOOLS, excluded)]
    direct, transitive = context.resolver.resolve(wanted)
    for dependency in direct + transitive:
        coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        yield Jar(coordinate, _sha256(Path(dependency.artifact.resolve()).read_bytes()))


def write_list() -> None:
    repository = Path(tempfile.mkdtemp())
    try:
        jars = sorted(_resolve(repository), key=lambda jar: jar.coordinate)
    finally:
        shutil.rmtree(repository)
    _LIST.write_text("".join(f"{jar.digest}  {jar.coordinate}\n" for jar in jars))
    sys.stdout.write(f"{len(jars)} jars listed in {_LIST.name}\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    write_list()
