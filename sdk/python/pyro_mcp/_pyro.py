"""Class Pyro: the operations, and what is convenient on top of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from pyro_mcp import types
from pyro_mcp._error import PyroError
from pyro_mcp._operations import Operations
from pyro_mcp._server import Server, create_server

_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _scope(
    create: Callable[Concatenate[_S, _P], _R],
) -> Callable[[Callable[..., Iterator[_R]]], Callable[Concatenate[_S, _P], AbstractContextManager[_R]]]:
    """Make a context manager with the parameters of create."""

    def decorate(block: Callable[..., Iterator[_R]]) -> Callable[Concatenate[_S, _P], AbstractContextManager[_R]]:
        managed = contextmanager(block)

        def scope(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> AbstractContextManager[_R]:
            return managed(self, *args, **kwargs)

        functools.update_wrapper(scope, create)  # for help(), and for inspect.signature
        scope.__name__, scope.__qualname__, scope.__doc__ = block.__name__, block.__qualname__, block.__doc__
        return scope

    return decorate


class Pyro(Operations):
    """Disposable Linux sandboxes.

    >>> pyro = Pyro()
    >>> pyro.run_in_vm("debian:12", command=["git", "--version"])["stdout"]
    'git version 2.39.5\\n'

    The methods are the operations of pyro, as the command line and MCP have them, on the same sandboxes. They
    give plain dictionaries, whose types are in ``pyro_mcp.types``, and raise PyroError. A command that fails is
    no error: its result has the exit code.

    The background process is started by the first call. An object may be used by many threads.
    """

    @_scope(Operations.create_workspace)
    def workspace(self: Operations, *args: Any, **kwargs: Any) -> Iterator[types.Workspace]:
        """Create a workspace for a with block, and delete it when the block ends, however it ends.

        Takes what create_workspace takes.
        """
        workspace = self.create_workspace(*args, **kwargs)
        try:
            yield workspace
        finally:
            _unless_gone(self.delete_workspace, workspace["workspace_id"])

    @_scope(Operations.create_vm)
    def vm(self: Operations, *args: Any, **kwargs: Any) -> Iterator[types.VM]:
        """Create and start a VM for a with block, and delete it when the block ends, however it ends.

        Takes what create_vm takes.
        """
        vm_id = self.create_vm(*args, **kwargs)["vm_id"]
        try:
            yield self.start_vm(vm_id)
        finally:
            _unless_gone(self.delete_vm, vm_id)

    def create_server(self, *arguments: str) -> Server:
        """Return the MCP server of the same program, folders and variables, not started yet.

        :param arguments: further arguments of ``pyro mcp serve``
        """
        return create_server(*arguments, binary=self._program.path, env=self._program.env)


def _unless_gone(delete: Callable[[str], object], name: str) -> None:
    try:
        delete(name)
    except PyroError as error:
        if error.kind != "not_found":
            raise
