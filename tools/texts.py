"""The texts that a person sees, out of the source: put into the catalogues, and compiled.

    python -m tools.texts      after a text was added or changed; says what is still to be translated

The English text in the source is the key of its translation: see tools/messages.py, and src/quanma/cli/catalogue.py.
"""

from __future__ import annotations

import datetime
import io
import sys
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from quanma.api.described import fields_of
from quanma.api.tree import OPERATIONS

from .foreign_texts import OUTSIDE
from .messages import messages_of

SOURCE = Path(__file__).parents[1] / "src/quanma"
TEMPLATE = SOURCE / "cli/locale/quanma.pot"
CATALOGUE = SOURCE / "cli/locale/zh/LC_MESSAGES/quanma.po"

NOT_FOR_PEOPLE: Final = (
    "__init__.py",
    "api/openapi.py",  # a document, for programs
    "api/operation.py",  # told to programs that call the client, as what follows, to "wire"
    "client/claims.py",
    "client/paysign.py",
    "client/receiving.py",
    "client/sensitivefields.py",
    "wire/eventbody.py",
    "wire/v2sign.py",
    "wire/values.py",
    "cli/examples.py",  # commands
    "client/attempts.py",  # lines of the log
    "doctor/telling.py",  # JSON, and Markdown for an issue
    "serving/arriving.py",  # bodies of HTTP
    "serving/http1.py",
    "serving/redact.py",
    "platform/observe/metrics.py",
    "sandbox/app.py",  # answers to programs, as what follows of the sandbox
    "sandbox/clock.py",
    "sandbox/control.py",
    "sandbox/credentials.py",
    "sandbox/explain.py",
    "sandbox/exports.py",
    "sandbox/faults.py",
    "sandbox/guard.py",
    "sandbox/journal.py",
    "sandbox/operations.py",
    "sandbox/redeliver.py",
    "sandbox/wire.py",
    "testing.py",
    "platform/observe/spans.py",
    "platform/pool/postgres/queries.py",
)
"""Modules whose texts no person reads on the command line."""
_LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""The same bytes each time hold no time of their writing."""


def main() -> int:
    """Write the template anew, merge it into the catalogue, compile that. The exit status says if a text lacks."""
    catalogue = updated(read(CATALOGUE))
    TEMPLATE.write_bytes(written(template()))
    CATALOGUE.write_bytes(written(catalogue))
    CATALOGUE.with_suffix(".mo").write_bytes(compiled(catalogue))
    missing = [str(one.id) for one in catalogue if one.id and not one.string]
    for text in missing:
        print(repr(text))
    print(f"{len(catalogue)} texts, {len(missing)} still to be translated in {CATALOGUE.name}")
    return 1 if missing else 0


@cache
def texts() -> dict[str, list[str]]:
    """Every message, and the modules that it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in NOT_FOR_PEOPLE:
            for text in messages_of(path.read_text("utf-8")):
                found.setdefault(text, []).append(name)
    for name, more in {"api (fields of requests)": fields(), **OUTSIDE}.items():
        for text in more:
            found.setdefault(text, []).append(name)
    return found


def fields() -> list[str]:
    """What stands below a field of a request in its declaration: `quanma api OPERATION --help` shows it."""
    found: list[str] = []

    def add(struct: type[msgspec.Struct]) -> None:
        for one in fields_of(struct):
            found.append(one.about.replace("{", "{{").replace("}", "}}"))
            if one.below is not None:
                add(one.below)

    for operation in OPERATIONS:
        add(operation.request)
    return [*filter(None, dict.fromkeys(found))]


def template() -> Catalog:
    """What there is to be translated."""
    return updated(Catalog())


def updated(known: Catalog) -> Catalog:
    """The texts that there are, and no others, with the translations that are known."""
    made = Catalog(locale="zh", charset="utf-8", creation_date=_LONG_AGO, revision_date=_LONG_AGO)
    for text, modules in texts().items():
        translated = known.get(text)
        made.add(text, translated.string if translated else "", locations=[(name, 0) for name in modules])
    return made


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh")


def written(catalogue: Catalog) -> bytes:
    """As a .po file, the same each time: in the order of the source, without numbers of lines."""
    file = io.BytesIO()
    write_po(file, catalogue, width=120, omit_header=True, include_lineno=False)
    header = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n\n'
    )
    return header.encode() + file.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """As a .mo file."""
    made = Catalog(locale="zh", charset="utf-8", creation_date=_LONG_AGO, revision_date=_LONG_AGO)
    for one in catalogue:
        if one.id:
            made.add(one.id, one.string)
    file = io.BytesIO()
    write_mo(file, made)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
