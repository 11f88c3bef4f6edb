"""What the parameters of operations may be, and how they are sent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias, overload

from pyro_mcp._error import PyroError

#: A command: the program and its arguments, or one string that ``sh -c`` in the sandbox takes apart.
Command: TypeAlias = str | Sequence[str]

#: A path on this host. A relative one is relative to the working folder of this process.
HostPath: TypeAlias = str | os.PathLike[str]


@overload
def arguments(command: Command) -> list[str]: ...
@overload
def arguments(command: None) -> None: ...
@overload
def arguments(command: Command | None) -> list[str] | None: ...
def arguments(command: Command | None) -> list[str] | None:
    """Return the list that is sent for a command."""
    if command is None:
        return None
    if isinstance(command, str):
        return ["sh", "-c", command]
    if isinstance(command, (bytes, bytearray, Mapping)):
        raise TypeError(f"a command is a string or a list of strings, not {type(command).__name__}")
    return [os.fspath(word) for word in command]


def host_path(path: HostPath | None, *words: str) -> str | None:
    """Return the path as the background process, whose working folder is another one, can use it. A word stays."""
    return path if path is None or path in words else os.path.abspath(os.fspath(path))


def encode(request: Mapping[str, object]) -> bytes:
    """Return a request as JSON, without what is None. JSON is UTF-8, so other bytes cannot be sent."""
    given = {name: value for name, value in request.items() if value is not None}
    for name, value in given.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise PyroError("usage", f"{name} is not UTF-8: {value!r}") from None
    return json.dumps(given).encode()
