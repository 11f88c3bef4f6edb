"""The methods that the public contract names, with the parameters it names.

A method may take more than that, by keyword and with a default: programs that were written for the contract go on
working.
"""

from __future__ import annotations

import inspect
import typing
import unittest
from collections.abc import Mapping, Sequence
from typing import Any

from support import methods

from pyro_mcp import Pyro, PyroError, Server
from pyro_mcp._operations import Operations


class Contract:
    """Section 4 of the contract. Positional parameters are told by their places, not by their names."""

    def list_environments(self) -> Any: ...
    def pull_environment(self, environment: str, /) -> Any: ...
    def inspect_environment(self, environment: str, /) -> Any: ...
    def prune_environments(self) -> Any: ...

    def create_vm(
        self, environment: str, /, *, vcpu_count: int = 1, mem_mib: int = 1024, ttl_seconds: int = 600,
        network: bool = False, allow_host_compat: bool = False,
    ) -> Any: ...  # fmt: skip
    def start_vm(self, vm_id: str, /) -> Any: ...
    def exec_vm(self, vm_id: str, /, *, command: str, timeout_seconds: int = 30) -> Any: ...
    def stop_vm(self, vm_id: str, /) -> Any: ...
    def delete_vm(self, vm_id: str, /) -> Any: ...
    def status_vm(self, vm_id: str, /) -> Any: ...
    def network_info_vm(self, vm_id: str, /) -> Any: ...
    def reap_expired(self) -> Any: ...
    def run_in_vm(
        self, environment: str, /, *, command: str, vcpu_count: int = 1, mem_mib: int = 1024, timeout_seconds: int = 30,
        ttl_seconds: int = 600, network: bool = False, allow_host_compat: bool = False,
    ) -> Any: ...  # fmt: skip

    def create_workspace(
        self, environment: str, /, *, seed_path: str | None = None, vcpu_count: int = 1, mem_mib: int = 1024,
        ttl_seconds: int = 0, network: bool = False,
    ) -> Any: ...  # fmt: skip
    def push_workspace_sync(self, workspace_id: str, source_path: str, /, *, dest: str = "/workspace") -> Any: ...
    def exec_workspace(self, workspace_id: str, /, *, command: str, timeout_seconds: int = 30) -> Any: ...
    def status_workspace(self, workspace_id: str, /) -> Any: ...
    def logs_workspace(self, workspace_id: str, /) -> Any: ...
    def delete_workspace(self, workspace_id: str, /) -> Any: ...
    def export_workspace(self, workspace_id: str, path: str, /, *, output_path: str) -> Any: ...
    def diff_workspace(self, workspace_id: str, /) -> Any: ...
    def reset_workspace(self, workspace_id: str, /, *, snapshot: str = "baseline") -> Any: ...

    def create_snapshot(self, workspace_id: str, snapshot_name: str, /) -> Any: ...
    def list_snapshots(self, workspace_id: str, /) -> Any: ...
    def delete_snapshot(self, workspace_id: str, snapshot_name: str, /) -> Any: ...

    def open_shell(self, workspace_id: str, /, *, cwd: str = "/workspace", cols: int = 120, rows: int = 30) -> Any: ...
    def read_shell(self, workspace_id: str, shell_id: str, /, *, cursor: int = 0, max_chars: int = 65536) -> Any: ...
    def write_shell(self, workspace_id: str, shell_id: str, /, *, input: str, append_newline: bool = True) -> Any: ...
    def signal_shell(self, workspace_id: str, shell_id: str, /, *, signal_name: str = "INT") -> Any: ...
    def close_shell(self, workspace_id: str, shell_id: str, /) -> Any: ...

    def start_service(
        self, workspace_id: str, service_name: str, /, *, command: str, cwd: str = "/workspace",
        readiness: Mapping[str, str] | None = None, ready_timeout_seconds: int = 30, ready_interval_ms: int = 500,
    ) -> Any: ...  # fmt: skip
    def list_services(self, workspace_id: str, /) -> Any: ...
    def status_service(self, workspace_id: str, name: str, /) -> Any: ...
    def logs_service(self, workspace_id: str, name: str, /, *, tail_lines: int | None = None) -> Any: ...
    def stop_service(self, workspace_id: str, name: str, /) -> Any: ...


#: The parameters that a call takes by their places.
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1:]


def differences(name: str, want: Any, got: Any) -> typing.Iterator[str]:
    """Say why a call that the contract allows would not do."""
    places = [p for p in parameters(got) if p.kind in POSITIONAL]
    wanted = [p for p in parameters(want) if p.kind in POSITIONAL]
    if len(places) != len(wanted):
        yield f"{name} takes {len(places)} arguments by place, not {len(wanted)}"
    keywords = {p.name: p for p in parameters(got) if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for p in parameters(want):
        if p.kind in POSITIONAL:
            continue
        mine = keywords.pop(p.name, None)
        if mine is None:
            yield f"{name} does not take {p.name}"
        elif mine.default != p.default:
            yield f"{name}: the default of {p.name} is {mine.default!r}, not {p.default!r}"
    for extra in keywords.values():
        if extra.default is inspect.Parameter.empty:
            yield f"{name} wants {extra.name}, which the contract does not have"


class TheContract(unittest.TestCase):
    def test_every_method_is_there_as_it_is_named(self) -> None:
        named = {name: value for name, value in vars(Contract).items() if inspect.isfunction(value)}
        self.assertLessEqual(named.keys(), set(methods()))
        self.assertEqual(len(named), 35)
        for name, want in named.items():
            with self.subTest(name):
                self.assertEqual(list(differences(name, want, getattr(Pyro, name))), [])

    def test_results_are_typed(self) -> None:
        for name in vars(Contract):
            if not name.startswith("_"):
                with self.subTest(name):
                    self.assertTrue(typing.is_typeddict(typing.get_type_hints(getattr(Operations, name))["return"]))

    def test_the_rest(self) -> None:
        self.assertIs(typing.get_type_hints(Pyro.create_server)["return"], Server)
        error = PyroError("not_found", "workspace ws-1 does not exist", "list_workspaces()")
        self.assertEqual((error.kind, error.message, error.hint), ("not_found", str(error).split("\n")[0], "list_workspaces()"))
        for scope in (Pyro.workspace, Pyro.vm):
            self.assertEqual([p.name for p in parameters(scope)][:1], ["environment"])

    def test_readiness_takes_the_forms_of_the_contract(self) -> None:
        hint = typing.get_type_hints(Operations.start_service)["readiness"]
        probe: Sequence[Any] = [a for a in typing.get_args(hint) if a is not type(None)]
        keys: set[str] = set()
        for form in probe:
            keys |= set(typing.get_type_hints(form))
        self.assertGreaterEqual(keys, {"type", "path", "address", "url", "command"})
