"""The examples run as they stand."""

from __future__ import annotations

import json
import subprocess
import sys

from support import CHECKOUT, Folders


class Examples(Folders):
    def example(self, name: str) -> str:
        done = subprocess.run([sys.executable, str(CHECKOUT / "examples" / name)], env=self.env, cwd=self.dir, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_python_run(self) -> None:
        result = json.loads(self.example("python_run.py"))
        self.assertEqual(result["exit_code"], 0)
        self.assertTrue(result["stdout"].startswith("git version 2."))

    def test_python_workspace(self) -> None:
        printed = self.example("python_workspace.py")
        self.assertRegex(printed, r"(?s)attempt 1: exit code [1-9].*attempt 2: exit code 0.*\+    echo \$\(\(\$1 \+ \$2\)\)\n")
        self.assertEqual(json.loads(self.cli("workspace", "list", "--json")), {"workspaces": []})
