"""The JSON Schemas in the repository, written anew from the declarations.

python -m tools.schemas      after a setting, or what `quanma doctor --json` prints, has changed
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from quanma.cli.schemas import of_file, of_quanma_toml, text_of
from quanma.doctor.examine import Report
from quanma.platform.config import PlatformConfig

FOLDER = Path(__file__).parents[1] / "docs/schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """Each file's name, and what it holds."""
    return {
        "doctor.json": msgspec.json.schema(Report),
        "platform.json": of_file("platform.toml", PlatformConfig),
        "quanma.json": of_quanma_toml(),
    }


def main() -> int:
    """Write them."""
    for name, schema in schemas().items():
        (FOLDER / name).write_text(text_of(schema), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
