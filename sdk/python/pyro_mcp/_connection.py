"""A connection to the background process: HTTP/1.1 over a unix socket, for one call.

docs/reference/http.md describes the protocol.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from pyro_mcp._arguments import encode
from pyro_mcp._error import PyroError, error_of
from pyro_mcp._protocol import UPGRADE
from pyro_mcp._version import VERSION

#: How long a live background process may take to answer a ping, in seconds.
ANSWER_TIME = 15.0

#: The largest answer that is taken, in bytes: as in pyro's own client.
MAX_ANSWER = 256 << 20


class Pong(NamedTuple):
    """Who answered a ping."""

    version: str
    pid: int
    build: str


class Connection(http.client.HTTPConnection):
    """A connection to the socket in a state folder."""

    auto_open = 0  # a request is sent at most once

    def __init__(self, state_dir: str) -> None:
        super().__init__("pyro")
        self.state_dir = state_dir

    def connect(self) -> None:
        """Connect; FileNotFoundError and ConnectionRefusedError say that no process is there.

        The path goes through an open folder because the address of a socket has 108 bytes and paths may have
        more.
        """
        folder = os.open(self.state_dir, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = _dial(f"/proc/self/fd/{folder}/daemon.sock")
        finally:
            os.close(folder)

    def ping(self) -> Pong | None:
        """Ask who is there; None if it is a process that ends just now."""
        self.sock.settimeout(ANSWER_TIME)
        try:
            self.request("GET", "/v1/ping", headers={"Pyro-Version": VERSION})
            answer = json.loads(self.getresponse().read(1 << 16))
            pong = Pong(str(answer["version"]), int(answer["pid"]), str(answer["build"]))
        except TimeoutError:
            raise PyroError(
                "daemon_unavailable",
                f"the background process did not answer within {ANSWER_TIME:.0f} s",
                f"look into {self.log}; end the process and try again",
            ) from None
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return None
        if self.sock is None:  # it closes the connection: it is about to end
            return None
        self.sock.settimeout(None)
        return pong

    def post(self, operation: str, request: Mapping[str, object], *, upgrade: bool = False) -> http.client.HTTPResponse:
        """Send a request and return the answer, if it is a success."""
        headers = {"Pyro-Version": VERSION, "Pyro-Surface": "python", "Content-Type": "application/json"}
        if upgrade:
            headers |= {"Connection": "Upgrade", "Upgrade": UPGRADE}
        body = encode(request)
        try:
            try:
                self.request("POST", f"/v1/{operation}", body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it closed the connection
            answer = self.getresponse()
            if answer.status != (101 if upgrade else 200):
                raise self._refusal(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self.broken(error) from error
        return answer

    def document(self, answer: http.client.HTTPResponse) -> Any:
        """Return the JSON document that an answer holds."""
        try:
            body = answer.read(MAX_ANSWER + 1)
            if len(body) <= MAX_ANSWER:
                return json.loads(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.broken(error) from error
        raise PyroError("unsupported", f"the answer is larger than {MAX_ANSWER >> 20} MiB", "ask for less")

    def broken(self, error: Exception | None = None) -> PyroError:
        """Return the error of a connection that ended, or made no sense, in the middle of a call."""
        if error is None or isinstance(error, (ConnectionError, http.client.IncompleteRead, ValueError)):
            return PyroError(
                "daemon_unavailable",
                "the background process ended in the middle of the call",
                f"look into {self.log}, then try again",
            )
        return PyroError(
            "daemon_unavailable",
            f"answer of the background process: {error}",
            "pyro daemon stop, then try again",
        )

    @property
    def log(self) -> str:
        """The log of the background process, for hints."""
        return os.path.join(self.state_dir, "daemon.log")

    def _refusal(self, answer: http.client.HTTPResponse) -> PyroError:
        try:
            error = error_of(json.loads(answer.read(1 << 20)))
        except ValueError:
            error = None
        return error or PyroError(
            "internal",
            f"the background process answered {answer.status} {answer.reason}",
            "pyro daemon stop, then try again",
        )


def _dial(address: str) -> socket.socket:
    """Connect, waiting while the queue of the listener is full."""
    deadline = time.monotonic() + ANSWER_TIME
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(ANSWER_TIME)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            if error.errno != errno.EAGAIN or time.monotonic() > deadline:
                raise
        except BaseException:
            sock.close()
            raise
        time.sleep(0.005)
