"""Paths that are not declared: untyped, signed and verified like the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from ..api.operation import Operation
from ..errors import RequestInvalid
from ..wire import codec

Result = TypeVar("Result")

# What a URL keeps as it stands: anything else would be re-spelt on the way, and the signature with it.
_PATH = re.compile(r"/?v3(/([A-Za-z0-9._~!$&()*+,;=:@%-]|\{\w+\})+)+")
_DOTS = re.compile(r"(?i)/(\.|%2e){1,2}(/|$)")


class Undeclared(Operation[Any, Any, Any, object]):
    """One verb on a path that the tree does not have. The platform's promises about it are unknown to us."""

    def __init__(self, verb: str, path: str) -> None:
        super().__init__(dict, object, summary=path)
        self.verb, self.path = verb, path


class Chain(Generic[Result]):
    """`chain("v3/pay/transactions/id/{transaction_id}").get(transaction_id="…", mchid="…")`.

    Keywords named in the path fill it; the others are the query. A mapping given first is the JSON body.
    A request that may have been executed is repeated only for GET: nothing is known about the others.
    """

    def __init__(self, path: str, call: Callable[[Operation[..., Any, Any, Any], codec.Parts], Result]) -> None:
        if not _PATH.fullmatch(path) or _DOTS.search(path):
            raise RequestInvalid(f"{path!r} is not a path like v3/pay/transactions/id/{{transaction_id}}")
        self._path = "/" + path.lstrip("/")
        self._call = call

    def __repr__(self) -> str:
        return f"<Chain {self._path}>"

    def get(self, **parameters: Any) -> Result:
        return self.send("GET", None, parameters)

    def delete(self, **parameters: Any) -> Result:
        return self.send("DELETE", None, parameters)

    def post(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("POST", body, parameters)

    def put(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("PUT", body, parameters)

    def patch(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("PATCH", body, parameters)

    def send(self, verb: str, body: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> Result:
        return self._call(Undeclared(verb, self._path), codec.encode_parts(verb, self._path, parameters, body))
