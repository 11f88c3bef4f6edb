"""The input and output of commands: bounded, streamed, binary, cut short."""

from __future__ import annotations

import unittest

from support import ENVIRONMENT, Folders

from pyro_mcp import types
from pyro_mcp._stream import Bounded


class Output(Folders):
    workspace: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.workspace = cls.pyro().create_workspace(ENVIRONMENT)["workspace_id"]
        cls.addClassCleanup(lambda: cls.pyro().delete_workspace(cls.workspace))

    def texts(self, result: types.ExecResult) -> tuple[object, ...]:
        keys = ("exit_code", "stdout", "stderr", "stdout_truncated", "stderr_truncated", "stdout_bytes", "stderr_bytes")
        return tuple(result.get(key) for key in keys)

    def test_a_stream_without_callbacks_is_as_none(self) -> None:
        pyro = self.pyro()
        for command in (
            "true",
            "echo out; echo err >&2; exit 3",
            "head -c 1048576 /dev/zero | tr '\\0' x",
            "head -c 1048577 /dev/zero | tr '\\0' x",
            "seq 1000000; seq 700000 >&2",
            "printf 'a\\377b\\303'",
            "kill -9 $$",
        ):
            with self.subTest(command):
                plain = pyro.exec_workspace(self.workspace, command=command)
                stream = pyro.exec_workspace(self.workspace, command=command, stdin=b"")
                self.assertEqual(self.texts(plain), self.texts(stream))

    def test_long_output_is_cut_in_the_middle(self) -> None:
        result = self.pyro().exec_workspace(self.workspace, command="seq 1000000")
        self.assertEqual((result["stdout_truncated"], result["stdout_bytes"]), (True, 6888896))
        self.assertLess(len(result["stdout"]), (1 << 20) + 100)
        self.assertRegex(result["stdout"], r"(?s)\A1\n2\n.*\[\.\.\. 5840320 bytes left out \.\.\.\].*\n1000000\n\Z")

    def test_callbacks_get_everything(self) -> None:
        pieces: list[bytes] = []
        errors: list[bytes] = []
        result = self.pyro().exec_workspace(
            self.workspace, command="seq 1000000; printf '\\377' >&2", on_stdout=pieces.append, on_stderr=errors.append
        )
        self.assertEqual(b"".join(pieces), b"".join(b"%d\n" % i for i in range(1, 1000001)))
        self.assertEqual(b"".join(errors), b"\xff")
        self.assertEqual((result["stdout"], result["stdout_truncated"], result["stdout_bytes"]), ("", False, 6888896))

    def test_stdin(self) -> None:
        data = bytes(range(256)) * 12000  # 3 MB: more than may be under way
        pieces: list[bytes] = []
        self.pyro().exec_workspace(self.workspace, command=["cat"], stdin=data, on_stdout=pieces.append)
        self.assertEqual(b"".join(pieces), data)

    def test_stdin_that_nobody_reads(self) -> None:
        result = self.pyro().exec_workspace(self.workspace, command="exec <&-; echo done", stdin=b"x" * 3_000_000)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "done\n"))

    def test_output_comes_while_the_command_runs(self) -> None:
        pyro = self.pyro()

        def answer(piece: bytes) -> None:
            if piece == b"ready\n":
                pyro.exec_workspace(self.workspace, command="echo go >pipe")

        result = pyro.exec_workspace(
            self.workspace, command="rm -f pipe; mkfifo pipe; echo ready; read x <pipe; echo got $x >&2", on_stdout=answer
        )
        self.assertEqual((result["exit_code"], result["stderr"]), (0, "got go\n"))

    def test_an_exception_ends_the_command(self) -> None:
        pyro = self.pyro()

        def stop(piece: bytes) -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            pyro.exec_workspace(self.workspace, command="echo now; exec sleep 1000", on_stdout=stop, timeout_seconds=900)
        state = "running"
        while state == "running":
            last = pyro.logs_workspace(self.workspace, last=1)["commands"][0]
            self.assertIn("sleep 1000", last["command"][2])
            state = last["state"]
        self.assertNotEqual(last["exit_code"], 0)

    def test_the_time_limit(self) -> None:
        for stdin in (None, b""):
            result = self.pyro().exec_workspace(self.workspace, command="echo a; sleep 1000", timeout_seconds=1, stdin=stdin)
            self.assertEqual((result["exit_code"], result["stdout"], result["limit"]["kind"]), (124, "a\n", "timeout"))


class Bounds(unittest.TestCase):
    def test_bounded(self) -> None:
        for pieces, want in (
            ([], ("", False)),
            ([b"abcdefgh"], ("abcdefgh", False)),
            ([b"abc", b"defg", b"h"], ("abcdefgh", False)),
            ([b"abcdefghi"], ("abcd\n[... 1 bytes left out ...]\nfghi", True)),
            ([b"abcdefgh", b"ijklmnopqr", b"s"], ("abcd\n[... 11 bytes left out ...]\npqrs", True)),
            ([bytes([c]) for c in b"abcdefghijklmnopqrstuvwxyz"], ("abcd\n[... 18 bytes left out ...]\nwxyz", True)),
            ([b"\xff"], ("\ufffd", False)),
        ):
            with self.subTest(pieces=pieces):
                bounded = Bounded(limit=8)
                for piece in pieces:
                    bounded.write(piece)
                self.assertEqual(bounded.text(), want)
