"""Work in a workspace the way an agent should: reset over repair.

An attempt that went wrong leaves more behind than the file it got wrong: build results, packages, half a
migration. Taking that back by hand is guessing. A workspace goes back as a whole, to what it was created with
or to a snapshot, in a fraction of a second.

    python3 examples/python_workspace.py

It needs pyro-mcp (docs/install.md), or in a checkout: make build, PYTHONPATH=sdk/python, PYRO_BIN=bin/pyro.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pyro_mcp import Pyro, PyroError

#: The project: a shell script that is not finished, and its test.
PROJECT = {
    "add.sh": "add() {\n    return 1\n}\n",
    "test.sh": '. ./add.sh\n[ "$(add 2 3)" = 5 ]\n',
}

#: What an agent might try, one after the other. The first does damage.
ATTEMPTS = [
    "rm test.sh; touch /etc/broken; sed -i 's/return 1/echo $1 + $2/' add.sh; sh test.sh",
    "sed -i 's/return 1/echo $(($1 + $2))/' add.sh; sh test.sh",
]


def main() -> int:
    pyro = Pyro()
    with tempfile.TemporaryDirectory() as project:
        for name, text in PROJECT.items():
            Path(project, name).write_text(text)
        # The workspace is deleted when the block ends. Nothing it does reaches the project on the host.
        with pyro.workspace("debian:12", seed_path=project) as workspace:
            id = workspace["workspace_id"]
            for number, command in enumerate(ATTEMPTS, start=1):
                result = pyro.exec_workspace(id, command=command, timeout_seconds=60)
                print(f"attempt {number}: exit code {result['exit_code']}")
                if result["exit_code"] == 0:
                    break
                summary = pyro.diff_workspace(id)["summary"]
                print(f"it changed {summary['modified']} files and deleted {summary['deleted']}: reset")
                pyro.reset_workspace(id)
            else:
                return 1

            # What is worth keeping: a snapshot to come back to, and the patch to take home.
            pyro.create_snapshot(id, "it-works")
            patch = pyro.diff_workspace(id)["patch"]
            print(patch)

            # Files come out one by one, or as a folder; a path that exists is never overwritten.
            pyro.export_workspace(id, "add.sh", output_path=Path(project, "add.fixed.sh"))
            print(Path(project, "add.fixed.sh").read_text())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PyroError as error:
        sys.exit(str(error))
