"""Secrets of a workspace: commands get them, results do not."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from support import ENVIRONMENT, Folders

from pyro_mcp import PyroError

TOKEN = "ghp_0123456789abcdef"


class Secrets(Folders):
    def test_secrets(self) -> None:
        pyro = self.pyro()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "password"
        file.write_text("hunter22-from-a-file\n")
        created = pyro.create_workspace(
            ENVIRONMENT, secrets=[{"name": "API_TOKEN", "value": TOKEN}, {"name": "PASSWORD", "file_path": str(file)}]
        )
        self.assertEqual(
            created["secrets"],
            [{"name": "API_TOKEN", "source_kind": "literal"}, {"name": "PASSWORD", "source_kind": "file"}],
        )
        workspace = created["workspace_id"]
        self.addCleanup(pyro.delete_workspace, workspace)
        command = 'echo "$API_TOKEN ${#API_TOKEN} ${#PW}"; echo "$PW" >&2'
        got = pyro.exec_workspace(workspace, command=command, secret_env={"API_TOKEN": "API_TOKEN", "PASSWORD": "PW"})
        self.assertEqual((got["stdout"], got["stderr"]), ("[REDACTED] 20 20\n", "[REDACTED]\n"))
        pieces: list[bytes] = []
        command = 'printf ghp_01234; sleep 0.2; printf "56789abcdef, %s" "$API_TOKEN"'
        pyro.exec_workspace(workspace, command=command, secret_env={"API_TOKEN": ""}, on_stdout=pieces.append)
        self.assertEqual(b"".join(pieces), b"[REDACTED], [REDACTED]")

        shell = pyro.open_shell(workspace, secret_env={"API_TOKEN": ""})["shell_id"]
        pyro.write_shell(workspace, shell, input="echo $API_TOKEN ${#API_TOKEN}")
        output = ""
        while "[REDACTED] 20" not in output:
            read = pyro.read_shell(workspace, shell)
            self.assertEqual(read["state"], "running")
            output = read["output"]
            time.sleep(0.05)
        pyro.start_service(
            workspace, "web", command='echo "$PASSWORD"; touch .ready; sleep 1000',
            secret_env={"PASSWORD": ""}, readiness={"type": "file", "path": ".ready"},
        )
        self.assertEqual(pyro.logs_service(workspace, "web")["stdout"], "[REDACTED]\n")

        pyro.reset_workspace(workspace)
        got = pyro.exec_workspace(workspace, command="echo ${#API_TOKEN}", secret_env={"API_TOKEN": ""})
        self.assertEqual(got["stdout"], "20\n")
        for answer in (pyro.logs_workspace(workspace), pyro.status_workspace(workspace), output):
            self.assertNotIn(TOKEN, json.dumps(answer))

    def test_errors_show_no_value(self) -> None:
        pyro = self.pyro()
        for secret in (
            {"name": TOKEN},
            {"name": "A", "value": TOKEN, "file_path": "/" + TOKEN},
            {"name": "A", "value": TOKEN + "\0"},
            {"name": "A", "value": [TOKEN]},
            {"name": "A", "value": TOKEN, "other": 1},
        ):
            with self.subTest(secret=secret), self.assertRaises(PyroError) as raised:
                pyro.create_workspace(ENVIRONMENT, secrets=[secret])  # type: ignore[list-item]
            self.assertEqual(raised.exception.kind, "usage")
            self.assertNotIn(TOKEN, str(raised.exception) + str(raised.exception.hint))
