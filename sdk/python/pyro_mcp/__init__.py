"""pyro: disposable Linux sandboxes for coding agents.

>>> from pyro_mcp import Pyro
>>> pyro = Pyro()
>>> with pyro.workspace("debian:12", seed_path="./my-project") as workspace:
...     result = pyro.exec_workspace(workspace["workspace_id"], command="make test")
...     print(result["exit_code"], pyro.diff_workspace(workspace["workspace_id"])["patch"])

A wheel of this package carries the program pyro; ``PYRO_BIN`` names another one.
"""

from pyro_mcp import types
from pyro_mcp._error import PyroError
from pyro_mcp._pyro import Pyro
from pyro_mcp._server import Server, create_server
from pyro_mcp._version import VERSION as __version__

__all__ = ["Pyro", "PyroError", "Server", "__version__", "create_server", "types"]
