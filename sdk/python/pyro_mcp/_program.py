"""The program pyro: where it is, what it is given, how it starts the background process.

The program is looked for in this order:

1. what the caller named, ``Pyro(binary=...)``
2. the environment variable ``PYRO_BIN``
3. ``_bin/pyro`` in this package, where a wheel carries it
4. ``pyro`` on ``PATH``

The background process is started by the program itself, with all that belongs to it: taking turns with other
clients, a process of another build, the namespaces of a plain user, and saying why it did not work.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pyro_mcp._arguments import HostPath
from pyro_mcp._error import PyroError, error_of

#: Where a wheel carries the program.
CARRIED = Path(__file__).parent / "_bin" / "pyro"

#: Variables that name folders, which must mean the same wherever this process goes.
_FOLDERS = ("PYRO_STATE_DIR", "PYRO_CACHE_DIR", "PYRO_CONFIG_DIR")


class Program:
    """The program with its environment variables."""

    def __init__(self, binary: HostPath | None = None, env: Mapping[str, str] | None = None) -> None:
        self.env = dict(os.environ if env is None else env)
        for name in _FOLDERS:
            if self.env.get(name):
                self.env[name] = os.path.abspath(self.env[name])
        self.path = find(binary, self.env)
        self.state_dir = state_dir(self.env)

    @property
    def log(self) -> str:
        """The log of the background process."""
        return os.path.join(self.state_dir, "daemon.log")

    def start(self) -> None:
        """See to it that a background process of this program's build runs.

        Any command does that which asks it for something; this one is the cheapest.
        """
        try:
            done = subprocess.run(
                [self.path, "vm", "list", "--json"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            raise PyroError("unavailable", f"the program {self.path} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise _failure(self.path, done)


def _failure(path: str, done: subprocess.CompletedProcess[bytes]) -> PyroError:
    try:
        error = error_of(json.loads(done.stdout))
    except ValueError:
        error = None
    if error is not None:
        return error
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return PyroError(
        "daemon_unavailable",
        f"the program {path} did not start the background process, exit code {done.returncode}: {last}",
        f"{path} doctor",
    )


def find(binary: HostPath | None, env: Mapping[str, str]) -> str:
    """Return the absolute path of the program."""
    named = env.get("PYRO_BIN") if binary is None else os.fspath(binary)
    if named:
        path = os.path.abspath(named)
        if not _is_executable(path):
            raise PyroError("unavailable", f"{path} is not a program", "correct PYRO_BIN, or leave it unset")
        return path
    carried = str(CARRIED)
    if _is_executable(carried):
        return carried
    for folder in env.get("PATH", "").split(os.pathsep):
        path = os.path.abspath(os.path.join(folder, "pyro"))
        if folder and is_binary(path):
            return path
    raise PyroError(
        "unavailable",
        "the program pyro is not in this package, not named by PYRO_BIN and not on PATH",
        "pip install pyro-mcp, or set PYRO_BIN to the program",
    )


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def is_binary(path: str) -> bool:
    """Tell the program from this package's own command, which would look for the program again."""
    if not _is_executable(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def state_dir(env: Mapping[str, str]) -> str:
    """Return the folder of the socket, as docs/reference/cli.md describes it."""
    if env.get("PYRO_STATE_DIR"):
        return os.path.abspath(env["PYRO_STATE_DIR"])
    if os.path.isabs(env.get("XDG_STATE_HOME", "")):
        return os.path.join(env["XDG_STATE_HOME"], "pyro")
    if env.get("HOME"):
        return os.path.abspath(os.path.join(env["HOME"], ".local/state/pyro"))
    raise PyroError(
        "unavailable",
        "neither PYRO_STATE_DIR, XDG_STATE_HOME nor HOME is set",
        "export HOME, or set PYRO_STATE_DIR to a folder of your own",
    )
