"""What the tests share: the program under test, folders of their own, and a Pyro that checks its results.

    PYRO_BIN             the program under test, bin/pyro of the checkout by default
    PYRO_TEST_CACHE_DIR  a cache of environments that outlives the run; else PYRO_CACHE_DIR, else a new one
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types as pytypes
import typing
import unittest
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SDK = Path(__file__).resolve().parent.parent
CHECKOUT = SDK.parent.parent
sys.path.insert(0, str(SDK))

from pyro_mcp import Pyro, PyroError  # noqa: E402
from pyro_mcp._operations import Operations  # noqa: E402

#: The environment that tests run in.
ENVIRONMENT = "debian:12"


def program() -> str:
    """Return the program under test."""
    path = os.path.abspath(os.environ.get("PYRO_BIN") or CHECKOUT / "bin" / "pyro")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is not a program: run make build, or set PYRO_BIN")
    return path


def call_of_method(name: str) -> Callable[..., Any]:
    """Return the method of that name, made to check that its result is what its type says."""
    method = getattr(Operations, name)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        hint = typing.get_type_hints(method)["return"]
        complaints = list(mismatches(result, hint, name))
        if complaints:
            raise AssertionError("; ".join(complaints))
        return result

    return checked


def methods() -> list[str]:
    """List the methods that are operations."""
    return [name for name, value in vars(Operations).items() if inspect.isfunction(value)]


#: Pyro, each of whose results must match its type: all keys that must be there, none that is not known.
Checked: type[Pyro] = type("Checked", (Pyro,), {name: call_of_method(name) for name in methods()})


def mismatches(value: object, hint: Any, where: str) -> typing.Iterator[str]:
    """Say where a value is not of a type that the package uses: a TypedDict, list, dict, union or plain type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if typing.is_typeddict(hint):
        yield from dict_mismatches(value, hint, where)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where} is {value!r}, not a list"
        else:
            for i, item in enumerate(value):
                yield from mismatches(item, args[0], f"{where}[{i}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where} is {value!r}, not a dictionary"
        else:
            for key, item in value.items():
                yield from mismatches(item, args[1], f"{where}[{key!r}]")
    elif origin in (typing.Union, pytypes.UnionType):
        if all(list(mismatches(value, arg, where)) for arg in args):
            yield f"{where} is {value!r}, not {hint}"
    elif type(value) is not hint:
        yield f"{where} is {value!r}, not {hint}"


def dict_mismatches(value: object, hint: Any, where: str) -> typing.Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is {value!r}, not a dictionary"
        return
    hints = typing.get_type_hints(hint)
    for key in hint.__required_keys__ - value.keys():
        yield f"{where}[{key!r}] is missing"
    for key, item in value.items():
        if key not in hints:
            yield f"{where}[{key!r}] is not known"
        else:
            yield from mismatches(item, hints[key], f"{where}[{key!r}]")


class Folders(unittest.TestCase):
    """Tests with a state folder of their own. When they have ended, nothing of them is left."""

    dir: str
    env: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.dir = tempfile.mkdtemp(prefix="pyrosdk")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cache = os.environ.get("PYRO_TEST_CACHE_DIR") or os.environ.get("PYRO_CACHE_DIR") or cls.dir + "/cache"
        cls.env = dict(
            os.environ,
            PYRO_BIN=program(),
            PYRO_STATE_DIR=cls.dir + "/state",
            PYRO_CONFIG_DIR=cls.dir + "/config",
            PYRO_CACHE_DIR=cache,
            HOME=cls.dir,
            PYTHONPATH=str(SDK),
            PYTHONDONTWRITEBYTECODE="1",
        )
        cls.addClassCleanup(cls.cli, "daemon", "stop", "--force")

    @classmethod
    def pyro(cls, **env: str) -> Pyro:
        return Checked(env=cls.env | env)

    @classmethod
    def cli(cls, *arguments: str, **env: str) -> str:
        """Run the command line on the same folders, and return its stdout."""
        done = subprocess.run([cls.env["PYRO_BIN"], *arguments], env=cls.env | env, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise AssertionError(f"pyro {arguments}: exit code {done.returncode}\n{done.stdout!r}\n{done.stderr!r}")
        return done.stdout.decode()

    def fails(self, kind: str, call: Callable[..., object], *args: Any, **kwargs: Any) -> PyroError:
        """Check that a call raises a PyroError of that kind."""
        with self.assertRaises(PyroError) as caught:
            call(*args, **kwargs)
        self.assertEqual(caught.exception.kind, kind, caught.exception)
        return caught.exception

    def daemon(self) -> Mapping[str, Any]:
        """Return what pyro daemon status says."""
        status: Mapping[str, Any] = json.loads(self.cli("daemon", "status", "--json"))
        return status

    def need(self, pyro: Pyro, operation: str) -> None:
        """Skip the test if the program does not have an operation yet that the package knows."""
        try:
            pyro._call(operation, {})
        except PyroError as error:
            if error.kind == "not_found" and "operation" in error.message:
                self.skipTest(f"needs a program that has the operation {operation}")
