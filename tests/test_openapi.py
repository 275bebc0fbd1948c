"""The OpenAPI document: well-formed, whole, and the one that is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from quanma.api import openapi
from quanma.api.operation import Operation
from quanma.api.stocks import StockNode
from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from quanma.platform.handlers import HANDLERS
from tests.support.every import every
from tests.support.platform import InProcess

DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(openapi.document()))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
METHODS = {"get", "put", "post", "delete", "patch"}
STATUSES = {"200", "204", "400", "401", "403", "404", "429", "500", "503"}

every_operation = every(OPERATIONS, chain_of)


def described(operation: Operation[..., Any, Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.verb.lower()]
    return found


def every_part(value: Any) -> Iterator[dict[str, Any]]:
    """Each object in a JSON document, at any depth."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from every_part(inner)


def test_the_document_has_the_parts_that_openapi_3_1_requires() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert DOCUMENT.keys() <= {"openapi", "info", "servers", "paths", "components", "security", "tags"}
    assert DOCUMENT["security"] == [{"wechatpay": []}]
    scheme = DOCUMENT["components"]["securitySchemes"]["wechatpay"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "Authorization")


def test_every_operation_is_in_it_and_nothing_else() -> None:
    listed = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert listed == {(operation.verb, operation.path) for operation in OPERATIONS}
    assert all(item.keys() <= METHODS for item in DOCUMENT["paths"].values())


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [described(operation)["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z]+", name) for name in names)


def test_every_reference_leads_to_a_schema() -> None:
    references = {part["$ref"] for part in every_part(DOCUMENT) if "$ref" in part}
    assert references <= {f"#/components/schemas/{name}" for name in SCHEMAS}
    assert len(references) > 30
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in SCHEMAS)


def test_every_pattern_and_limit_is_one_that_json_schema_reads() -> None:
    for part in every_part(DOCUMENT["components"]["schemas"]):
        for limit in {"minLength", "maxLength", "minItems", "maxItems"} & part.keys():
            assert isinstance(part[limit], int)
        if isinstance(pattern := part.get("pattern"), str):
            # JSON Schema's patterns are JavaScript's: no \A, no \Z, no (?i).
            assert not re.search(r"\\A|\\Z|\(\?", pattern), pattern


@every_operation
def test_the_variables_of_a_path_are_required_parameters(operation: Operation[..., Any, Any, Any]) -> None:
    in_path = [one for one in described(operation)["parameters"] if one["in"] == "path"]
    assert sorted(one["name"] for one in in_path) == sorted(re.findall(r"\{(\w+)\}", operation.path))
    assert all(one["required"] is True for one in in_path)


@every_operation
def test_every_field_of_the_request_is_in_one_place(operation: Operation[..., Any, Any, Any]) -> None:
    parts = described(operation)
    fields = [(one["name"], one["required"]) for one in parts["parameters"]]
    if operation.multipart:
        schema = parts["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert schema["properties"].keys() == set(schema["required"]) == {"meta", "file"}
        assert schema["properties"]["meta"]["properties"].keys() == {"filename", "sha256"}
        return
    if "requestBody" in parts:
        schema = parts["requestBody"]["content"]["application/json"]["schema"]
        fields += [(name, name in schema["required"]) for name in schema["properties"]]
    assert sorted(fields) == sorted(
        (field.encode_name, field.required) for field in msgspec.structs.fields(operation.request)
    )
    assert ("requestBody" in parts) == (operation.verb not in ("GET", "DELETE"))


@every_operation
def test_every_field_of_the_answer_is_in_it(operation: Operation[..., Any, Any, Any]) -> None:
    responses = described(operation)["responses"]
    assert responses.keys() <= STATUSES
    assert all(response["description"] for response in responses.values())
    if operation is StockNode.patch:
        assert "200" not in responses
        assert "content" not in responses["204"]
        return
    name = responses["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    declared = {field.encode_name for field in msgspec.structs.fields(operation.response)}
    assert SCHEMAS[name]["properties"].keys() == declared


@every_operation
def test_every_failure_has_the_documented_body(operation: Operation[..., Any, Any, Any]) -> None:
    failures = {status: one for status, one in described(operation)["responses"].items() if status >= "400"}
    assert {str(error.status) for error in operation.errors} <= failures.keys()
    for one in failures.values():
        assert one["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert SCHEMAS["Error"]["required"] == ["code", "message"]


def test_a_limit_of_a_field_is_in_it() -> None:
    upload = DOCUMENT["paths"]["/v3/marketing/busifavor/stocks/{stock_id}/couponcodes"]["post"]
    codes = upload["requestBody"]["content"]["application/json"]["schema"]["properties"]["coupon_code_list"]
    assert (codes["minItems"], codes["maxItems"]) == (1, 200)


def test_the_platform_serves_it_unsigned(platform: InProcess) -> None:
    reply = platform.ask("GET", "/openapi.json", [])
    assert reply.status_code == 200
    assert dict(reply.headers)["Content-Type"] == "application/json; charset=utf-8"
    served = json.loads(reply.body)
    assert served["components"] == DOCUMENT["components"]
    assert served["paths"] == DOCUMENT["paths"]
    assert set(HANDLERS) == set(OPERATIONS)
