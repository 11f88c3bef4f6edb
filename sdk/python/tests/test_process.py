"""The background process: started once, found again, lost, replaced."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from support import ENVIRONMENT, Folders


def in_threads(count: int, call: Callable[[int], object]) -> list[BaseException]:
    """Run call(0) to call(count-1) at the same time, and return what went wrong."""
    wrong: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            together.wait()
            call(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def kill(pid: int) -> None:
    """Kill a process and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)


class Process(Folders):
    def starts(self) -> int:
        """Count how often a background process has started on the state folder."""
        return Path(self.env["PYRO_STATE_DIR"], "daemon.log").read_text().count('"msg":"ready"')

    def setUp(self) -> None:
        self.cli("daemon", "stop", "--force")
        Path(self.env["PYRO_STATE_DIR"], "daemon.log").unlink(missing_ok=True)

    def test_many_threads_start_one(self) -> None:
        pyro = self.pyro()
        self.assertEqual(in_threads(50, lambda _: pyro.list_environments()), [])
        self.assertEqual(self.starts(), 1)
        self.assertEqual(in_threads(8, lambda _: self.pyro().list_environments()), [])  # each its own Pyro
        self.assertEqual(self.starts(), 1)

    def test_many_threads_in_one_workspace(self) -> None:
        pyro = self.pyro()
        with pyro.workspace(ENVIRONMENT) as workspace:
            id = workspace["workspace_id"]

            def call(number: int) -> None:
                stdin = None if number % 2 else b"x"
                result = pyro.exec_workspace(id, command=f"echo {number}", stdin=stdin)
                assert result["stdout"] == f"{number}\n", result

            self.assertEqual(in_threads(20, call), [])
            self.assertEqual(pyro.status_workspace(id)["command_count"], 20)

    def test_killed_between_calls(self) -> None:
        pyro = self.pyro()
        with pyro.workspace(ENVIRONMENT) as workspace:
            id = workspace["workspace_id"]
            for i in range(3):
                pyro.exec_workspace(id, command=f"echo {i} >>log")
                kill(self.daemon()["pid"])
            self.assertEqual(pyro.exec_workspace(id, command="cat log")["stdout"], "0\n1\n2\n")
            kill(self.daemon()["pid"])
            self.assertEqual(in_threads(10, lambda _: pyro.status_workspace(id)), [])
        self.assertEqual(self.starts(), 5)

    def test_killed_in_the_middle_of_a_call(self) -> None:
        pyro = self.pyro()
        with pyro.workspace(ENVIRONMENT) as workspace:
            id = workspace["workspace_id"]

            def on_stdout(piece: bytes) -> None:
                kill(self.daemon()["pid"])

            error = self.fails(
                "daemon_unavailable", pyro.exec_workspace, id, command="echo; sleep 1000", on_stdout=on_stdout, timeout_seconds=900
            )
            self.assertIn("daemon.log", error.hint)

            wrong: list[BaseException] = []
            thread = threading.Thread(
                target=lambda: wrong.extend(
                    in_threads(1, lambda _: pyro.exec_workspace(id, command="touch here; sleep 1000", timeout_seconds=900))
                )
            )
            thread.start()
            while pyro.exec_workspace(id, command=["test", "-e", "here"])["exit_code"] != 0:
                pass
            kill(self.daemon()["pid"])
            thread.join()
            self.assertEqual([getattr(e, "kind", e) for e in wrong], ["daemon_unavailable"])
            self.assertEqual(pyro.status_workspace(id)["state"], "started")

    def test_stopped_between_calls(self) -> None:
        pyro = self.pyro()
        pyro.list_environments()
        self.cli("daemon", "stop")
        pyro.list_environments()
        self.assertEqual(self.starts(), 2)

    def test_builds_take_turns(self) -> None:
        other = self.dir + "/other"
        shutil.copyfile(self.env["PYRO_BIN"], other)
        os.chmod(other, 0o755)
        change_build(other)
        ours, theirs = self.pyro(), self.pyro(PYRO_BIN=other)
        for _ in range(2):
            ours.list_environments()
            theirs.list_environments()
        self.assertEqual(self.starts(), 4)
        with theirs.vm(ENVIRONMENT):  # a VM that runs is not taken from them
            error = self.fails("conflict", ours.list_environments)
            self.assertIn("--force", error.hint)
        ours.list_environments()


def change_build(path: str) -> None:
    """Change the build id that the Go linker wrote into a program: a note of type 4 of the owner Go."""
    data = bytearray(Path(path).read_bytes())
    head = struct.pack("<I", 4), struct.pack("<I", 4) + b"Go\0\0"
    at = data.index(head[1])
    while data[at - 8 : at - 4] != head[0]:
        at = data.index(head[1], at + 1)
    data[at + 8] ^= 1
    Path(path).write_bytes(data)
