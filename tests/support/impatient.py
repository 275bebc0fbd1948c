"""`quanma`, but an upload waits 1.5 s for an answer instead of 30 s: silence is tested in less time.

python -m tests.support.impatient upload …
"""

from __future__ import annotations

from quanma.cli.main import main
from quanma.client.exchange import Patience
from quanma.upload import run

if __name__ == "__main__":
    run.__dict__["ONE_ATTEMPT"] = Patience(deadline_seconds=1.5, attempt_seconds=1.5, attempts_max=1)
    main()
