"""The stream of a command: its input and output while it runs, as frames.

A frame is one byte of type, four bytes of length (big endian) and the payload. At most STDIN_WINDOW bytes of
stdin are under way, sent and not yet taken by the command; so sending never waits for the command, and one
thread is enough for both directions.
"""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from pyro_mcp import _protocol as protocol
from pyro_mcp._connection import Connection
from pyro_mcp._error import error_of

#: Takes a piece of output, in bytes as the command wrote them.
Output: TypeAlias = Callable[[bytes], object]

_HEAD = struct.Struct(">BI")
_PIECE = 32 << 10


class Stream:
    """The stream of one command, on a connection that was upgraded."""

    def __init__(self, connection: Connection, answer: http.client.HTTPResponse, stdin: bytes) -> None:
        self._connection = connection
        self._frames = answer.fp  # holds what was read ahead
        self._stdin = memoryview(stdin)
        self._room = protocol.STDIN_WINDOW
        self._ended = False

    def run(self, on_stdout: Output | None, on_stderr: Output | None) -> dict[str, Any]:
        """Pass input and output on until the command has ended, and return its result.

        Output for which there is no function is in the result, as it is without a stream.
        """
        stdout, stderr = Bounded(), Bounded()
        self._send()
        while True:
            kind, payload = self._next()
            if kind == protocol.FRAME_STDOUT:
                (on_stdout or stdout.write)(payload)
            elif kind == protocol.FRAME_STDERR:
                (on_stderr or stderr.write)(payload)
            elif kind == protocol.FRAME_STDIN_TAKEN:
                self._room += int.from_bytes(payload, "big")
                self._send()
            elif kind == protocol.FRAME_ERROR:
                raise error_of(self._document(payload)) or self._connection.broken()
            elif kind == protocol.FRAME_RESULT:
                result = self._document(payload)
                if on_stdout is None:
                    result["stdout"], result["stdout_truncated"] = stdout.text()
                if on_stderr is None:
                    result["stderr"], result["stderr_truncated"] = stderr.text()
                return result

    def _document(self, payload: bytes) -> dict[str, Any]:
        try:
            document = json.loads(payload)
        except ValueError as error:
            raise self._connection.broken(error) from error
        if not isinstance(document, dict):
            raise self._connection.broken()
        return document

    def _next(self) -> tuple[int, bytes]:
        kind, size = _HEAD.unpack(self._read(_HEAD.size))
        if size > protocol.MAX_PAYLOAD:
            raise self._connection.broken(http.client.HTTPException(f"a frame announces {size} bytes"))
        return kind, self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            data = self._frames.read(size)
        except OSError as error:
            raise self._connection.broken(error) from error
        if len(data) < size:
            raise self._connection.broken()
        return data

    def _send(self) -> None:
        """Send as much of stdin as there is room for, and its end. A failure shows in the next read."""
        try:
            while self._stdin and self._room > 0:
                piece = self._stdin[: min(_PIECE, self._room)]
                self._connection.sock.sendall(_HEAD.pack(protocol.FRAME_STDIN, len(piece)) + piece)
                self._stdin = self._stdin[len(piece) :]
                self._room -= len(piece)
            if not self._stdin and not self._ended:
                self._ended = True
                self._connection.sock.sendall(_HEAD.pack(protocol.FRAME_STDIN_EOF, 0))
        except OSError:
            self._stdin, self._ended = memoryview(b""), True


class Bounded:
    """Collects output and keeps its head and its tail, half and half, of MAX_OUTPUT bytes."""

    def __init__(self, limit: int = protocol.MAX_OUTPUT) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def write(self, data: bytes) -> None:
        self._total += len(data)
        take = self._half - len(self._head)
        self._head += data[:take]
        self._tail += data[take:]
        if len(self._tail) > 2 * self._half:  # not each time: that would copy the tail for each piece
            del self._tail[: -self._half]

    def text(self) -> tuple[str, bool]:
        """Return the output, invalid UTF-8 replaced, and whether something is left out in the middle."""
        if self._total <= 2 * self._half:
            return (self._head + self._tail).decode(errors="replace"), False
        tail = self._tail[-self._half :]
        mark = f"\n[... {self._total - len(self._head) - len(tail)} bytes left out ...]\n"
        return (self._head + mark.encode() + tail).decode(errors="replace"), True
