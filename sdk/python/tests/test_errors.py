"""What goes wrong before there is a background process, and what it refuses."""

from __future__ import annotations

import os
import pickle
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from support import ENVIRONMENT, Folders

from pyro_mcp import Pyro, PyroError
from pyro_mcp._arguments import arguments, host_path
from pyro_mcp._program import find, state_dir


class Refusals(Folders):
    def test_refusals(self) -> None:
        pyro = self.pyro()
        error = self.fails("not_found", pyro.status_workspace, "ws-000000000000")
        self.assertIn("ws-000000000000", error.message)
        self.assertEqual(error.hint, "list_workspaces()")
        self.assertEqual(str(error), f"{error.message}\nhint: {error.hint}")
        wrong: Any = "wrong"
        for call in (
            lambda: pyro.create_vm(ENVIRONMENT, runtime=wrong),
            lambda: pyro.create_vm(ENVIRONMENT, vcpu_count=0),
            lambda: pyro.create_vm(ENVIRONMENT, mem_mib=wrong),
            lambda: pyro.create_vm(""),
            lambda: pyro.run_in_vm(ENVIRONMENT, command=[]),
            lambda: pyro.run_in_vm(ENVIRONMENT, command=[], stdin=b""),
            lambda: pyro.create_workspace(ENVIRONMENT, seed_path=os.fsdecode(b"/tmp/\xff")),
            lambda: pyro.run_in_vm(ENVIRONMENT, command=["echo", "\ud800"]),
            lambda: pyro.status_vm("x" * (17 << 20)),
        ):
            self.fails("usage", call)
        self.fails("not_found", pyro.pull_environment, "debian:0")
        self.fails("not_found", pyro.create_workspace, "debian:0")
        self.fails("not_found", pyro.exec_workspace, "ws-000000000000", command="true", stdin=b"")
        with self.assertRaises(TypeError):
            pyro.create_vm(ENVIRONMENT, mem_mib=object())  # type: ignore[arg-type]
        self.fails("not_found", pyro.create_workspace, ENVIRONMENT, seed_path="nowhere")

    def test_a_command_that_is_not_there_is_no_error(self) -> None:
        result = self.pyro().run_in_vm(ENVIRONMENT, command=["no-such-program"])
        self.assertEqual(result["exit_code"], 127)

    def test_the_program_says_why_it_does_not_start(self) -> None:
        not_a_folder = self.dir + "/file"
        Path(not_a_folder).touch()
        error = self.fails("permission", self.pyro(PYRO_STATE_DIR=not_a_folder + "/state").list_environments)
        self.assertIn("PYRO_STATE_DIR", error.hint)

    def test_a_program_of_another_kind(self) -> None:
        for text, kind, message in (
            ("#!/bin/sh\necho oh dear >&2; exit 3", "daemon_unavailable", "exit code 3: oh dear"),
            ("#!/bin/sh\nexit 0", "daemon_unavailable", "ends as soon as it has started"),
            ("#!/nowhere", "unavailable", "cannot be run"),
        ):
            with self.subTest(text):
                path = self.dir + "/program"
                Path(path).write_text(text)
                os.chmod(path, 0o755)
                pyro = self.pyro(PYRO_BIN=path, PYRO_STATE_DIR=self.dir + "/other")
                self.assertIn(message, self.fails(kind, pyro.list_environments).message)


class Finding(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        no_wheel = mock.patch("pyro_mcp._program.CARRIED", Path(self.dir, "carried"))
        no_wheel.start()
        self.addCleanup(no_wheel.stop)

    def file(self, name: str, text: bytes = b"\x7fELF", mode: int = 0o755) -> str:
        path = Path(self.dir, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        path.chmod(mode)
        return str(path)

    def test_the_order(self) -> None:
        named, variable, on_path = self.file("named"), self.file("variable"), self.file("bin/pyro")
        script, plain = self.file("script/pyro", b"#!/usr/bin/python3"), self.file("plain/pyro", mode=0o644)
        path = os.pathsep.join(["", os.path.dirname(plain), os.path.dirname(script), os.path.dirname(on_path)])
        env = {"PYRO_BIN": variable, "PATH": path}
        self.assertEqual(find(named, env), named)
        self.assertEqual(find(None, env), variable)
        del env["PYRO_BIN"]
        self.assertEqual(find(None, env), on_path)
        carried = self.file("carried")
        self.assertEqual(find(None, env), carried)

    def test_no_program(self) -> None:
        for named, env in ((None, {}), (None, {"PATH": self.dir}), ("nowhere", {}), (None, {"PYRO_BIN": self.dir})):
            with self.subTest(named=named, env=env), self.assertRaises(PyroError) as caught:
                find(named, env)
            self.assertEqual((caught.exception.kind, bool(caught.exception.hint)), ("unavailable", True))

    def test_the_folder_of_the_socket(self) -> None:
        here = os.getcwd()
        for env, want in (
            ({"HOME": "/home/u"}, "/home/u/.local/state/pyro"),
            ({"HOME": "/home/u", "XDG_STATE_HOME": "/s"}, "/s/pyro"),
            ({"HOME": "/home/u", "XDG_STATE_HOME": "s"}, "/home/u/.local/state/pyro"),
            ({"PYRO_STATE_DIR": "state", "XDG_STATE_HOME": "/s"}, here + "/state"),
        ):
            self.assertEqual(state_dir(env), want)
        with self.assertRaises(PyroError):
            Pyro(binary=self.file("program"), env={})

    def test_folders_stay_where_they_were(self) -> None:
        pyro = Pyro(binary=self.file("program"), env={"PYRO_STATE_DIR": "s", "PYRO_CACHE_DIR": "c"})
        self.assertEqual(pyro._program.env["PYRO_CACHE_DIR"], os.path.join(os.getcwd(), "c"))
        self.assertEqual(pyro.binary, self.dir + "/program")


class Values(unittest.TestCase):
    def test_commands(self) -> None:
        self.assertEqual(arguments("a | b"), ["sh", "-c", "a | b"])
        self.assertEqual(arguments(("a", "b")), ["a", "b"])
        self.assertEqual(arguments([Path("/bin/ls")]), ["/bin/ls"])  # type: ignore[list-item]
        self.assertIsNone(arguments(None))
        wrongs: list[Any] = [b"a", {"a": 1}, [1], [b"a", 1], 3]
        for wrong in wrongs:
            with self.subTest(wrong=wrong), self.assertRaises(TypeError):
                arguments(wrong)

    def test_host_paths(self) -> None:
        self.assertEqual(host_path("a/../b"), os.path.join(os.getcwd(), "b"))
        self.assertEqual(host_path(Path("/x")), "/x")
        self.assertIsNone(host_path(None))

    def test_errors_can_be_sent_to_another_process(self) -> None:
        error = pickle.loads(pickle.dumps(PyroError("not_found", "it is gone", "look")))
        self.assertEqual((error.kind, error.message, error.hint), ("not_found", "it is gone", "look"))
        self.assertEqual(str(PyroError("internal", "a fault")), "a fault")
