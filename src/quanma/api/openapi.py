"""OPERATIONS as an OpenAPI 3.1 document. Values only: `document()` is what the platform serves at /openapi.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .operation import Operation
from .tree import OPERATIONS

REF = "#/components/schemas/{name}"
AUTHORIZATION = (
    'WECHATPAY2-SHA256-RSA2048 mchid="…",nonce_str="…",timestamp="…",serial_no="…",signature="…": '
    "RSA PKCS#1 v1.5 with SHA-256 over the lines method, target, timestamp, nonce and body, each ended by LF"
)
ERRORS = {
    "400": "a parameter, or a rule of the operation",
    "401": "the signature; nothing was executed",
    "403": "a permission, a limit, or nothing left",
    "404": "no such resource, or not the caller's",
    "429": "too many requests; not accepted",
    "500": "the platform failed; send the same request again",
    "503": "the platform is unavailable; send the same request again",
}


def document(
    operations: Iterable[Operation[..., Any, Any, Any]] = OPERATIONS, servers: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the document, made of the declarations alone. `servers`: where the calls go; else, where it came from."""
    listed = [{"url": url} for url in servers]
    operations = list(operations)
    types = [kind for operation in operations for kind in (operation.request, operation.response)]
    structs = [kind for kind in dict.fromkeys(types) if issubclass(kind, msgspec.Struct)]
    _, schemas = msgspec.json.schema_components(structs, ref_template=REF)
    _spell_patterns(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.verb.lower()] = _operation(operation, schemas)
    schemas["Error"] = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "detail": {"type": "object"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "quanma",
            "version": "0.1",
            "description": "WeChat Pay coupons, as this platform serves them.",
        },
        **({"servers": listed} if listed else {}),
        "security": [{"wechatpay": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "wechatpay": {"type": "apiKey", "in": "header", "name": "Authorization", "description": AUTHORIZATION}
            },
        },
    }


def _spell_patterns(schema: Any) -> None:
    """JSON Schema's patterns are JavaScript's: there, Python's \\A and \\Z are letters, and ^ and $ the ends."""
    if isinstance(schema, dict) and isinstance(schema.get("pattern"), str):
        schema["pattern"] = schema["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _spell_patterns(inner)


def _operation(operation: Operation[..., Any, Any, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = schemas[operation.request.__name__]
    properties: dict[str, Any] = schema.get("properties", {})
    required: list[str] = schema.get("required", [])
    in_path = [name for name in properties if f"{{{name}}}" in operation.path]
    rest = [name for name in properties if name not in in_path]
    in_query = rest if operation.verb in ("GET", "DELETE") else []
    described: dict[str, Any] = {
        "operationId": f"{operation.request.__name__}",
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": where, "required": where == "path" or name in required, "schema": properties[name]}
            for where, names in (("path", in_path), ("query", in_query))
            for name in names
        ],
        "responses": {**_success(operation), **{status: _failure(text) for status, text in ERRORS.items()}},
    }
    if operation.verb not in ("GET", "DELETE"):
        body = {
            "type": "object",
            "properties": {name: properties[name] for name in rest},
            "required": [name for name in rest if name in required],
        }
        described["requestBody"] = {"required": True, "content": _content(operation, body)}
    return described


def _content(operation: Operation[..., Any, Any, Any], body: dict[str, Any]) -> dict[str, Any]:
    if not operation.multipart:
        return {"application/json": {"schema": body}}
    meta = {"type": "object", "properties": {"filename": {"type": "string"}, "sha256": {"type": "string"}}}
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    parts = {"type": "object", "required": ["meta", "file"], "properties": {"meta": meta, "file": file}}
    return {"multipart/form-data": {"schema": parts}}


def _success(operation: Operation[..., Any, Any, Any]) -> dict[str, Any]:
    if operation.response is type(None):
        return {"204": {"description": "done"}}
    schema = {"$ref": REF.format(name=operation.response.__name__)}
    return {"200": {"description": "done", "content": {"application/json": {"schema": schema}}}}


def _failure(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": REF.format(name="Error")}}},
    }
