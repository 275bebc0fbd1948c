"""A file for whoever helps: versions, results, shapes of settings, names of variables, the log. An allow-list."""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..errors import Misconfigured
from ..settings import environment
from ..storage import private
from .examine import Report
from .subject import Subject
from .telling import Redactor, as_json, shapes, versions

LOG_LINES_MAX = 50


def write_bundle(path: Path, told: Report, subject: Subject, log_lines: Sequence[str]) -> None:
    """Write what helps others to help, in a new private file.

    Raises:
        Misconfigured: it is there already, or can't be written.
    """
    redacted = Redactor(subject).for_others
    content = {
        "doctor.json": as_json(told),
        "versions.json": json.dumps(versions(), indent=2),
        "settings.json": json.dumps(shapes(subject), indent=2, ensure_ascii=False),
        "variables.txt": "\n".join(_variables()),
        "log.txt": "\n".join(log_lines),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in content.items():
            file.writestr(name, redacted(text) + "\n")
    try:
        with open(private.make(path), "wb") as made:
            made.write(packed.getvalue())
    except FileExistsError:
        raise Misconfigured(f"{path} is there already: name another file") from None
    except OSError as problem:
        raise Misconfigured(f"{path} can't be written: {problem.strerror}") from None


def _variables() -> list[str]:
    """Names of variables that are set and mean something. No values, and no other names."""
    known = [f"QUANMA_{name}" for name in (*environment.MERCHANT, *environment.OTHERS)]
    system = ("LANG", "LC_ALL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    return [name for name in (*known, *system) if os.environ.get(name)]


class LastLines(logging.Handler):
    """Keeps the last lines of our loggers, for a bundle."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def __enter__(self) -> LastLines:
        self._logger = logging.getLogger("quanma")
        self._level = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *exception: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
