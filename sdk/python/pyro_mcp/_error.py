"""The one error of this package."""

from __future__ import annotations

from collections.abc import Mapping


class PyroError(Exception):
    """What pyro could not do.

    ``kind`` is a stable word for programs ("not_found", "conflict", "timeout"; all of them are in
    docs/reference/errors.md), ``message`` names the object and the fact, and ``hint``, if there is one, says
    what to do next, usually a method of Pyro to call, or a command to type where there is no such method.

    A command that ends with an exit code other than 0 is no error: see the result of the call.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(kind, message, hint)
        self.kind = kind
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if self.hint:
            return f"{self.message}\nhint: {self.hint}"
        return self.message


def error_of(document: object) -> PyroError | None:
    """Return the error that a JSON document {"error": {...}} holds, or that the inner object is."""
    if isinstance(document, Mapping) and isinstance(document.get("error"), Mapping):
        document = document["error"]
    if not isinstance(document, Mapping) or not isinstance(document.get("kind"), str):
        return None
    return PyroError(document["kind"], str(document.get("message", "")), str(document.get("hint", "")))
