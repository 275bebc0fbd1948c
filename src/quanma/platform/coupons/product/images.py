"""Pictures that the platform makes: a task is done at once, and its picture is an address of our own making. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from ....api.productcoupon.images import ImageTask, ImageTasks, MadeImage, StartedImageTask, StartImageTask
from ....errors import ParamError
from ....reasons import Reason
from ...chance import Chance
from .changes import Changed, Document, Known, ProductChange

_CHANCE = Chance("made-images")
IMAGE_TASK = "image-task"
"""The kind of a document that is an `ImageTask`, as JSON."""


def _start(known: Known, request: StartImageTask) -> Changed[StartedImageTask]:
    """Raises ParamError: not just the object of its type."""
    kind = request.image_generation_type
    given = {"COMBINE_IMAGE": request.combine_image, "CUT_OUT": request.cut_out}
    if given.pop(kind) is None or any(given.values()):
        raise ParamError(f"{kind} needs {kind.lower()}, and no other object", reason=Reason.BAD_PARAMETER)
    made = MadeImage(image_url=f"https://quanma.invalid/images/{_CHANCE.token_hex(16)}")
    brand_id = known.caller.shown_brand_id
    task = ImageTask(
        task_id=request.task_id,
        image_generation_type=kind,
        task_state="SUCCESS",
        combine_image_result=made if kind == "COMBINE_IMAGE" else None,
        cut_out_result=made if kind == "CUT_OUT" else None,
        brand_id=brand_id,
    )
    kept = Document(IMAGE_TASK, request.task_id, msgspec.json.encode(task).decode())
    return Changed(StartedImageTask(task_id=request.task_id, brand_id=brand_id), [kept])


START_IMAGE_TASK: ProductChange[Any, Any] = ProductChange(ImageTasks.post, _start)
