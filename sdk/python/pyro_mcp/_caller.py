"""Calls operations by name; what the generated methods stand on.

A call is a connection of its own: a ping, which shows that the background process is there and of the right
build, and the request. So nothing is open between calls, a Caller may be used by many threads, and a background
process that was replaced or killed meanwhile is none of the caller's business. Leaving a call early, by an
exception of a callback or Ctrl-C, closes the connection, and that ends the call and its command.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyro_mcp._arguments import HostPath
from pyro_mcp._connection import MAX_ANSWER, Connection, Pong
from pyro_mcp._error import PyroError, error_of
from pyro_mcp._program import Program
from pyro_mcp._stream import Output, Stream
from pyro_mcp._version import VERSION

__all__ = ["Caller", "Output"]

#: How often a process may end between finding and calling it.
_TRIES = 5


class Caller:
    """Calls the operations of one background process, and starts it when it is needed."""

    def __init__(self, *, binary: HostPath | None = None, env: Mapping[str, str] | None = None) -> None:
        """Find the program. Nothing is started yet.

        :param binary: the program pyro; if absent PYRO_BIN, the one in this package or the one on PATH
        :param env: the environment variables in place of this process's own; those that pyro knows name its
            folders, and the background process gets a selection of them
        """
        self._program = Program(binary, env)
        self._lock = threading.Lock()  # guards the two below
        self._build = ""  # of the program, once it has started a background process
        self._starts = 0  # how often that was

    @property
    def binary(self) -> str:
        """The path of the program pyro."""
        return self._program.path

    def _call(self, operation: str, request: Mapping[str, object]) -> Any:
        with self._connected() as connection:
            return connection.document(connection.post(operation, request))

    def _watch(
        self, operation: str, request: Mapping[str, object], on_event: Callable[[Any], object] | None
    ) -> Any:
        with self._connected() as connection:
            answer = connection.post(operation, request)
            for line in _lines(connection, answer):
                if "error" in line:
                    raise error_of(line) or connection.broken()
                if "result" in line:
                    return line["result"]
                if on_event is not None and "event" in line:
                    on_event(line["event"])
            raise connection.broken()

    def _exec(
        self,
        operation: str,
        request: Mapping[str, object],
        stdin: bytes | None,
        on_stdout: Output | None,
        on_stderr: Output | None,
    ) -> Any:
        if stdin is None and on_stdout is None and on_stderr is None:
            return self._call(operation, request)
        with self._connected() as connection:
            answer = connection.post(operation, request, upgrade=True)
            return Stream(connection, answer, stdin or b"").run(on_stdout, on_stderr)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    def _connect(self) -> Connection:
        for _ in range(_TRIES):
            with self._lock:
                build, starts = self._build, self._starts
            if build:
                found = self._reach()
                if found is not None and found[1].build == build:
                    return found[0]
                if found is not None:
                    found[0].close()
            self._start(starts)
        raise PyroError(
            "daemon_unavailable",
            "the background process ends as soon as it has started",
            f"look into {self._program.log}",
        )

    def _reach(self) -> tuple[Connection, Pong] | None:
        """Connect to a background process that runs already, of whatever build."""
        connection = Connection(self._program.state_dir)
        try:
            connection.connect()
            pong = connection.ping()
            if pong is not None:
                return connection, pong
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except PermissionError as error:
            connection.close()
            raise PyroError(
                "permission",
                f"the socket in {self._program.state_dir} belongs to another user",
                "set PYRO_STATE_DIR to a folder of your own",
            ) from error
        except OSError as error:
            connection.close()
            raise PyroError(
                "daemon_unavailable",
                f"socket in {self._program.state_dir}: {error.strerror or error}",
                "set PYRO_STATE_DIR to a folder of your own",
            ) from error
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def _start(self, starts: int) -> None:
        """Have a background process, unless another thread has seen to that since starts was read.

        Whoever answers then is of the program's build: the program sees to that.
        """
        with self._lock:
            if self._starts != starts:
                return
            self._program.start()
            found = self._reach()
            if found is None:
                return
            found[0].close()
            self._check_version(found[1])
            self._build = found[1].build
            self._starts += 1

    def _check_version(self, pong: Pong) -> None:
        """Refuse a program of another version. A package of a checkout has no release it belongs to."""
        if pong.version != VERSION and not VERSION.endswith("-dev"):
            raise PyroError(
                "conflict",
                f"the program {self._program.path} is pyro {pong.version}, this Python package is of pyro {VERSION}",
                "install both of the same version, or leave PYRO_BIN unset",
            )


def _lines(connection: Connection, answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Read the lines of an answer of ModeEvents."""
    while True:
        try:
            line = answer.readline(MAX_ANSWER)
            document = json.loads(line) if line else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise connection.broken(error) from error
        if not isinstance(document, dict):
            raise connection.broken()
        yield document
