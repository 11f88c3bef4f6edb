"""The command pyro of an installed package: it becomes the program."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from pyro_mcp._error import PyroError
from pyro_mcp._program import CARRIED, find, is_binary


def main() -> NoReturn:
    """Become the program that the package carries, or else the one that find finds."""
    try:
        path = str(CARRIED) if os.access(CARRIED, os.X_OK) else find(None, os.environ)
        if not is_binary(path):  # this very command, for example, which would become itself for ever
            raise PyroError("unavailable", f"{path} is not the program pyro", "correct PYRO_BIN, or leave it unset")
        os.execv(path, ["pyro", *sys.argv[1:]])
    except PyroError as error:
        print(f"pyro: {error}", file=sys.stderr)
    except OSError as error:
        print(f"pyro: {path} cannot be run: {error.strerror}", file=sys.stderr)
    sys.exit(125)


if __name__ == "__main__":
    main()
