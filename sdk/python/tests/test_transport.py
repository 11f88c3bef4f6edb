"""Answers of a background process that no pyro would give: none of them may hang or pass for a result."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from support import program  # noqa: F401  finds the package

from pyro_mcp import Pyro, PyroError, types
from pyro_mcp._version import VERSION


def http(status: str, body: bytes, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


PONG = http("200 OK", json.dumps({"version": VERSION, "pid": 1, "build": "b"}).encode())
VM = json.dumps({"vm_id": "vm-1"}).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pyro-exec/1\r\n\r\n"


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


def frame(kind: int, payload: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BI", kind, len(payload) if size is None else size) + payload


class Transport(unittest.TestCase):
    def setUp(self) -> None:
        # Longer than the address of a socket may be.
        self.dir = tempfile.mkdtemp(prefix="pyrosdk") + "/long" * 30
        os.makedirs(self.dir)
        self.addCleanup(shutil.rmtree, self.dir[: self.dir.index("/long")])
        started = Path(self.dir, "started")  # does what starting does: nothing, this test is the process
        started.write_text("#!/bin/sh\nexit 0\n")
        started.chmod(0o755)
        self.pyro = Pyro(binary=started, env={"PYRO_STATE_DIR": self.dir, "PATH": os.environ["PATH"]})

        self.answers: list[bytes] = []  # one for each request
        self.requests: list[bytes] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        folder = os.open(self.dir, os.O_PATH)
        self.addCleanup(os.close, folder)
        self.listener.bind(f"/proc/self/fd/{folder}/daemon.sock")
        self.listener.listen()
        thread = threading.Thread(target=self.serve)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.listener.shutdown, socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer each ping with PONG, and each other request with the answer that is set, and hang up."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                while True:
                    head = b"".join(iter(stream.readline, b"\r\n")) if stream.peek(1) else b""
                    if not head:
                        break
                    size = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
                    body = stream.read(size)
                    if head.startswith(b"GET /v1/ping "):
                        connection.sendall(PONG)
                        continue
                    self.requests.append(body)
                    connection.sendall(self.answers.pop(0))
                    break

    def test_calls(self) -> None:
        for answer, kind, message in (
            (b"", "daemon_unavailable", "ended in the middle"),
            (http("200 OK", VM)[:-3], "daemon_unavailable", "ended in the middle"),
            (http("200 OK", b"not JSON"), "daemon_unavailable", "ended in the middle"),
            (b"nonsense\r\n\r\n", "daemon_unavailable", "answer of the background process"),
            (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", "daemon_unavailable", "answer of the background process"),
            (http("500 Oh", b"oh dear"), "internal", "500 Oh"),
            (http("500 Oh", b'{"error": {"kind": 3}}'), "internal", "500 Oh"),
            (http("418 Tea", b'{"error": {"kind": "new_kind", "message": "m"}}'), "new_kind", "m"),
            (UPGRADED, "internal", "101"),
        ):
            with self.subTest(answer[:60]):
                self.answers.append(answer)
                with self.assertRaises(PyroError) as caught:
                    self.pyro.status_vm("vm-1")
                self.assertEqual(caught.exception.kind, kind)
                self.assertIn(message, caught.exception.message)
        self.answers.append(http("200 OK", VM))
        self.assertEqual(self.pyro.status_vm("vm-1")["vm_id"], "vm-1")
        self.assertEqual(self.requests[-1], b'{"vm_id": "vm-1"}')

    def test_events(self) -> None:
        event, result = '{"event": {"phase": "install"}}\n', '{"result": {"name": "e"}}\n'
        for answer, kind in (
            (CHUNKED + chunk(event) + chunk(result) + b"0\r\n\r\n", None),
            (CHUNKED + chunk(event + result), None),
            (CHUNKED + chunk(event) + chunk('{"error": {"kind": "network", "message": "m"}}\n'), "network"),
            (CHUNKED + chunk(event) + chunk('{"error": 3}\n'), "daemon_unavailable"),
            (CHUNKED + chunk(event), "daemon_unavailable"),
            (CHUNKED + chunk(event) + b"0\r\n\r\n", "daemon_unavailable"),
            (CHUNKED + chunk(event) + chunk("[]\n"), "daemon_unavailable"),
            (CHUNKED + chunk(event) + b"zz\r\n", "daemon_unavailable"),
            (http("404 Not Found", b'{"error": {"kind": "not_found", "message": "m"}}'), "not_found"),
        ):
            with self.subTest(answer[60:]):
                self.answers.append(answer)
                events: list[types.Progress] = []
                try:
                    name = self.pyro.pull_environment("e", on_progress=events.append)["name"]
                    self.assertEqual((name, kind), ("e", None))
                except PyroError as error:
                    self.assertEqual(error.kind, kind)
                self.assertEqual([e["phase"] for e in events], [] if kind == "not_found" else ["install"])

    def test_streams(self) -> None:
        result = frame(7, b'{"exit_code": 0, "stdout": ""}')
        for answer, kind in (
            (UPGRADED + frame(6, b"{}") + frame(4, b"a") + frame(99, b"news") + result, None),
            (UPGRADED + frame(4, b"a") + frame(8, b'{"kind": "reset", "message": "m"}'), "reset"),
            (UPGRADED + frame(8, b"{}"), "daemon_unavailable"),
            (UPGRADED + frame(8, b"oh"), "daemon_unavailable"),
            (UPGRADED + frame(7, b"[]"), "daemon_unavailable"),
            (UPGRADED + frame(4, b"abc", size=4), "daemon_unavailable"),
            (UPGRADED + frame(4, b"", size=1 << 31), "daemon_unavailable"),
            (UPGRADED + b"\x04\x00", "daemon_unavailable"),
            (UPGRADED, "daemon_unavailable"),
            (http("200 OK", b"{}"), "internal"),
            (http("404 Not Found", b'{"error": {"kind": "not_found", "message": "m"}}'), "not_found"),
        ):
            with self.subTest(answer[80:]):
                self.answers.append(answer)
                try:
                    out = self.pyro.exec_vm("vm-1", command="true", stdin=b"x" * 500_000)["stdout"]
                    self.assertEqual((out, kind), ("a", None))
                except PyroError as error:
                    self.assertEqual(error.kind, kind, error)

    def test_what_is_none_is_not_sent(self) -> None:
        self.answers.append(http("200 OK", b"{}"))
        self.pyro.logs_workspace("ws-1")
        self.answers.append(http("200 OK", b"{}"))
        self.pyro.diff_workspace("ws-1", name_only=True)
        sent = json.loads(self.requests[-1])
        self.assertEqual((sent["name_only"], sent["from"], "to" in sent), (True, "baseline", False))

    def test_a_program_of_another_version(self) -> None:
        with mock.patch("pyro_mcp._caller.VERSION", "9.9.9"), self.assertRaises(PyroError) as caught:
            self.pyro.status_vm("vm-1")
        self.assertEqual(caught.exception.kind, "conflict")
        self.assertIn("9.9.9", caught.exception.message)
        self.assertEqual(self.requests, [])
