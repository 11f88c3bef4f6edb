"""Run one command in a fresh sandbox, and show what came of it.

    python3 examples/python_run.py

It needs pyro-mcp (docs/install.md), or in a checkout: make build, PYTHONPATH=sdk/python, PYRO_BIN=bin/pyro.
"""

from __future__ import annotations

import json
import sys

from pyro_mcp import Pyro, PyroError


def main() -> int:
    pyro = Pyro()
    try:
        result = pyro.run_in_vm(
            environment="debian:12",
            command=["git", "--version"],
            vcpu_count=1,
            mem_mib=1024,
            timeout_seconds=30,
            network=False,
        )
    except PyroError as error:
        print(error, file=sys.stderr)
        return 1
    # That a command fails is no error: its exit code is part of the result.
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
