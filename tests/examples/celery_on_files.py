"""The Celery example with its broker and results in a folder: no server is needed for them."""

from __future__ import annotations

import os
from typing import Any

import celery_shop  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

app: Any = celery_shop.app
FOLDER = os.environ["BROKER_FOLDER"]
app.conf.update(
    broker_url="filesystem://",
    result_backend=f"file://{FOLDER}/results",
    broker_transport_options={
        "data_folder_in": f"{FOLDER}/queue",
        "data_folder_out": f"{FOLDER}/queue",
        "control_folder": f"{FOLDER}/control",
    },
)
