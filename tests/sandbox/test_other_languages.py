"""The example for Node, run as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from quanma import Wechatpay
from quanma.testing import Sandbox
from tests.sandbox.test_faults import stocked

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node", path=f"{ROOT / '.venv/node'}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_the_example_for_node_finds_one_coupon(sandbox: Sandbox) -> None:
    assert NODE is not None
    done = subprocess.run(
        [NODE, str(ROOT / "examples/sandbox.mjs")],
        env={**os.environ, "SANDBOX_URL": sandbox.url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("one coupon\n", 0), done.stderr


def test_a_user_claims_a_coupon_on_the_page(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    stock_id = stocked(wxpay, "A1")
    assert sandbox.claim(stock_id, "oUser-0001-of-the-tests") == "A1"
