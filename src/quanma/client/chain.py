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
# One word may stand before v3: hk/v3/…, global/v3/…. A brand's own calls are below brand/.
_PATH = re.compile(r"/?(?:([a-z0-9-]+/)?v3|brand)(/([A-Za-z0-9._~!$&()*+,;=:@%-]|\{\w+\})+)+/?")
_DOTS = re.compile(r"(?i)/(\.|%2e){1,2}(/|$)")
_HOST = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")


class Undeclared(Operation[Any, Any, Any, object]):
    """One verb on a path that the tree does not have. The platform's promises about it are unknown to us."""

    declared = False

    def __init__(self, verb: str, path: str, hosts: tuple[str, ...] = ()) -> None:
        super().__init__(dict, object, summary=path)
        self.verb, self.path, self.hosts = verb, path, hosts


class Chain(Generic[Result]):
    """`chain("v3/pay/transactions/id/{transaction_id}").get(transaction_id="…", mchid="…")`.

    Keywords named in the path fill it; the others are the query, of any verb. A mapping given first is the JSON body.
    What JSON or a query can't say, like bytes, sets or a time without its offset, is a RequestInvalid.
    A request that may have been executed is repeated only for GET: nothing is known about the others.
    `host` is for calls that live elsewhere; it has no fallback.
    """

    def __init__(
        self,
        path: str,
        call: Callable[[Operation[..., Any, Any, Any], codec.Parts], Result],
        host: str | None = None,
        encrypt: Callable[[Any], Any] = lambda body: body,
    ) -> None:
        if not _PATH.fullmatch(path) or _DOTS.search(path):
            raise RequestInvalid(f"{path!r} is not a path like v3/pay/transactions/id/{{transaction_id}}")
        self._path = "/" + path.lstrip("/")
        self._hosts = () if host is None else (_origin(host),)
        self._call = call
        self._encrypt = encrypt

    def __repr__(self) -> str:
        return f"<Chain {''.join(self._hosts)}{self._path}>"

    def get(self, /, **parameters: Any) -> Result:
        return self.send("GET", None, parameters)

    def delete(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("DELETE", body, parameters)

    def post(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("POST", body, parameters)

    def put(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("PUT", body, parameters)

    def patch(self, body: Mapping[str, Any] | None = None, /, **parameters: Any) -> Result:
        return self.send("PATCH", body, parameters)

    def send(self, verb: str, body: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> Result:
        if body is not None and verb == "GET":
            raise RequestInvalid(f"GET {self._path} takes no body")
        parts = codec.encode_undeclared(verb, self._path, parameters, self._encrypt(body))
        if parts.body and not parts.body.startswith(b"{"):
            raise RequestInvalid(
                f"the body of {verb} {self._path} is a {type(body).__name__}: give one mapping, which becomes the JSON"
            )
        return self._call(Undeclared(verb, self._path, self._hosts), parts)


def _origin(host: str) -> str:
    found = _HOST.fullmatch(host)
    if found is None or int((found[3] or ":443")[1:]) not in range(1, 65536):
        # Not echoed: it may hold a password.
        raise RequestInvalid("host is not https://name or https://name:port, without path, query, user and password")
    return f"{found[1]}://{found[2].lower()}{found[3] or ''}"
