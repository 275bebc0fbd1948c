"""JSON Schemas of settings: made of the declarations, beside each file that is made, and true of it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.cli.conftest import Quanma
from tests.support.every import every, every_row
from tools.schemas import FOLDER, schemas


@every(schemas())
def test_the_schemas_in_the_repository_are_those_of_the_declarations(name: str) -> None:
    assert json.loads((FOLDER / name).read_text("utf-8")) == schemas()[name], "run `python -m tools.schemas`"


@pytest.fixture
def made(quanma: Quanma, tmp_path: Path) -> Path:
    assert quanma("init", "world").status == 0
    assert quanma("init", "shop", "--live").status == 0
    return tmp_path


@every_row("file", ["world/platform.toml", "world/merchants/1900000001/quanma.toml", "shop/quanma.toml"])
def test_a_file_that_is_made_names_its_schema_and_holds_to_it(made: Path, file: str) -> None:
    text = (made / file).read_text("utf-8")
    named = re.match(r"#:schema (\S+)\n", text)
    assert named is not None
    schema = json.loads((made / file).parent.joinpath(named[1]).read_text("utf-8"))
    jsonschema_rs.validate(schema, tomllib.loads(text))


@every_row(
    ("name", "settings", "said"),
    [
        ("quanma.json", {"merchant": {"mchid": "1", "serial_no": "1"}}, '"private_key" is a required property'),
        (
            "quanma.json",
            {"merchant": {"mchid": 1, "serial_no": "1", "private_key": "k"}},
            '1 is not of type "string"',
        ),
        (
            "quanma.json",
            {"merchant": {"mchid": "1", "serial_no": "1", "private_key": "k", "apiv3key": "x"}},
            "'apiv3key' was unexpected",
        ),
        ("platform.json", {"port": 1}, "is a required property"),
    ],
)
def test_a_mistake_is_found_by_the_schema(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(jsonschema_rs.ValidationError, match=said):
        jsonschema_rs.validate(schemas()[name], settings)


def test_a_setting_is_explained() -> None:
    merchant = schemas()["quanma.json"]["$defs"]["Merchant"]["properties"]
    assert merchant["h5_url"]["description"] == "The claim page, where the one that belongs to `base_url` is not it."
    assert "No form is documented" in schemas()["platform.json"]["properties"]["strict_nonce"]["description"]
