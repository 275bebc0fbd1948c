"""What is wrong with the fields of a call from the shell: all of it at once, each with what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..api.described import fields_of, kind_of
from .nearby import near_fields

HEADING = "Fields (--FIELD VALUE; a list is a repeated --FIELD, anything deeper is JSON):"


def problems(struct: type[msgspec.Struct], given: Mapping[str, Any], within: str = "") -> list[str]:
    """All that is missing, unknown or no word of its list, in one go. Limits are the declaration's to check."""
    known = {one.name: one for one in fields_of(struct)}
    found = [
        f"{within}{name} is missing: {kind_of(one)}"
        for name, one in known.items()
        if one.required and name not in given
    ]
    for name, value in given.items():
        if (field := known.get(name)) is None:
            found.append(f"{within}{name} is no field of it{near_fields(name, known)}")
        elif field.words and isinstance(value, str) and value not in field.words:
            found.append(f"{within}{name} is one of {', '.join(field.words)}, not {value[:40]!r}")
        elif field.below is not None:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Mapping):
                    found += problems(field.below, one, f"{within}{name}.")
    return found
