"""create_server: a thin way to run pyro mcp serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support import SDK, Folders

from pyro_mcp import PyroError, Server, create_server

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


class McpServer(Folders):
    def test_the_command(self) -> None:
        server = self.pyro().create_server("--profile", "vm-run")
        self.assertEqual(server.command, [self.env["PYRO_BIN"], "mcp", "serve", "--profile", "vm-run"])
        self.assertEqual(server.env["PYRO_STATE_DIR"], self.env["PYRO_STATE_DIR"])
        self.assertEqual(create_server(env=self.env).command, server.command[:3])
        with self.assertRaises(PyroError):
            Server(["/nowhere"], {}).run()

    def start_server(self, binary: str) -> subprocess.Popen[bytes]:
        """Start a Python process that runs the server of that program."""
        code = "import sys, pyro_mcp; sys.exit(pyro_mcp.create_server().run())"
        env = self.env | {"PYRO_BIN": binary, "PYTHONPATH": str(SDK)}
        return subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def test_it_is_given_stdin_and_stdout(self) -> None:
        path = self.dir + "/server"
        Path(path).write_text('#!/bin/sh\necho "$*"; cat; exit 7\n')
        os.chmod(path, 0o755)
        with self.start_server(path) as server:
            stdout, _ = server.communicate(b"hello\n")
        self.assertEqual((stdout, server.returncode), (b"mcp serve\nhello\n", 7))

    def test_it_serves(self) -> None:
        known = subprocess.run([self.env["PYRO_BIN"], "mcp", "serve", "--help"], env=self.env, capture_output=True)
        if b"serve" not in known.stdout or known.returncode != 0:
            self.skipTest("needs a program that has the command pyro mcp serve")
        with self.start_server(self.env["PYRO_BIN"]) as server:
            assert server.stdin and server.stdout
            server.stdin.write(json.dumps(HELLO).encode() + b"\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
            server.stdin.close()  # the client is gone
        self.assertEqual((answer["id"], answer["result"]["serverInfo"]["name"]), (1, "pyro"))
        self.assertEqual(server.returncode, 0)
