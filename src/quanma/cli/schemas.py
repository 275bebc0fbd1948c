"""JSON Schemas of the settings' files, made of their declarations: an editor completes and checks with them.

`quanma init` lays them beside what it makes, and the first line of each file names its own: `#:schema …`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..api.described import fields_of, meanings
from ..client.config import Brand, Merchant
from ..storage import private

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{name}"
_SECTIONS: Mapping[str, type[msgspec.Struct]] = {"merchant": Merchant, "brand": Brand}
"""Tables of quanma.toml."""


def of_quanma_toml() -> dict[str, Any]:
    """A merchant's and a brand's settings. What else may stand in the file is not looked at."""
    sections = {name: {"$ref": _REF.format(name=kind.__name__)} for name, kind in _SECTIONS.items()}
    return {
        "$schema": _DIALECT,
        "title": "quanma.toml",
        "type": "object",
        "properties": sections,
        "$defs": _defined(tuple(_SECTIONS.values())),
    }


def of_file(name: str, root: type[msgspec.Struct]) -> dict[str, Any]:
    """A file whose tables are a struct and those within it, as platform.toml is."""
    defined = _defined((root,))
    return {"$schema": _DIALECT, **defined.pop(root.__name__), "title": name, "$defs": defined}


def _defined(kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    """The schema of each struct by its name, those within them too, with what its declaration says of each field."""
    _, defined = msgspec.json.schema_components(kinds, ref_template=_REF)
    waiting = list(kinds)
    for kind in waiting:
        about = meanings(kind)
        for field in fields_of(kind):
            if field.name in about:
                defined[kind.__name__]["properties"][field.name]["description"] = about[field.name]
            if field.below is not None and field.below not in waiting:
                waiting.append(field.below)
    return defined


def text_of(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(files: Mapping[Path, Mapping[str, Any]]) -> None:
    """Write schemas into new files. What is there already stays."""
    for path, schema in files.items():
        if not path.exists() and not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(private.make(path), "w", encoding="utf-8") as file:
                file.write(text_of(schema))
