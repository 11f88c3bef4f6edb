"""The MCP server, which is part of the program."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from pyro_mcp._arguments import HostPath
from pyro_mcp._error import PyroError
from pyro_mcp._program import Program


class Server:
    """``pyro mcp serve``: what it takes to run it, and a way to do so.

    A program that starts MCP servers itself needs only ``command`` and ``env``.
    """

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        #: The program and its arguments.
        self.command = command
        #: All of its environment variables.
        self.env = env

    def run(self) -> int:
        """Serve on the stdin and stdout of this process until the client is gone; return the exit code."""
        try:
            server = subprocess.Popen(self.command, env=self.env)
        except OSError as error:
            raise PyroError("unavailable", f"the program {self.command[0]} cannot be run: {error.strerror}") from error
        with server:
            while True:
                try:
                    return server.wait()
                except KeyboardInterrupt:
                    pass  # the server got it too, and ends


def create_server(
    *arguments: str, binary: HostPath | None = None, env: Mapping[str, str] | None = None
) -> Server:
    """Return the MCP server, not started yet.

    :param arguments: further arguments of ``pyro mcp serve``
    :param binary: the program pyro; found as Pyro finds it if absent
    :param env: the environment variables in place of this process's own
    """
    program = Program(binary, env)
    return Server([program.path, "mcp", "serve", *arguments], program.env)
