"""Starts one program that outlives its caller and prints its pid.

Run by path with an isolated interpreter, a request as JSON on stdin. A process of its own forks, so
that callers with threads never do, and the program is never a child (or a zombie) of the caller.
"""

import json
import os
import sys


def main() -> None:
    request = json.load(sys.stdin)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        failure = os.read(reader, 4096).decode()
        if failure:
            sys.exit(failure)
        sys.stdout.write(f"{pid}\n")
        return
    os.close(reader)
    os.set_inheritable(writer, False)
    try:
        _become(request)
    except OSError as error:
        os.write(writer, f"cannot run {request['argv'][0]}: {error}".encode())
        os._exit(127)


def _become(request: dict[str, object]) -> None:
    os.setsid()
    log = os.open(str(request["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.chdir("/")
    account = request["account"]
    if isinstance(account, list):
        os.setgroups([])
        os.setgid(account[1])
        os.setuid(account[0])
    argv = request["argv"]
    environment = request["environment"]
    if not isinstance(argv, list) or not isinstance(environment, dict):
        raise OSError("the request names no program")
    os.execve(argv[0], argv, environment)  # noqa: S606 - the caller chose the program; there is no shell


main()
