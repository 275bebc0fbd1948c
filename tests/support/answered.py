"""The operations that our platform answers. The others are declared; the platform's own list says which."""

from __future__ import annotations

from quanma.api.tree import OPERATIONS
from quanma.platform.handlers import UNANSWERED

ANSWERED = tuple(operation for operation in OPERATIONS if operation not in UNANSWERED)
