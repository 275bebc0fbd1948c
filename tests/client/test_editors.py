"""What a program shows that looks at live objects: IPython, Jupyter and vim by jedi, and help()."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import jedi
import pytest

from quanma.api.couponcodes import UploadedCodes
from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from tests.support.every import every
from tests.support.platform import InProcess


@pytest.fixture
def names(platform: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    # What it read of files it keeps for all processes: one reads what another is writing.
    monkeypatch.setattr(jedi.settings, "cache_directory", str(tmp_path))
    return {"wxpay": platform.wechatpay(), "aio": platform.async_wechatpay()}


@pytest.mark.slow
def test_jedi_completes_the_chain(names: dict[str, Any]) -> None:
    found = jedi.Interpreter("wxpay.v3.marketing.busifavor.cou", [names]).complete()
    assert [one.name for one in found] == ["coupons"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        (
            "wxpay.v3.marketing.busifavor.coupons.send.post(",
            ["openid", "appid", "stock_id", "out_request_no", "coupon_code"],
        ),
        (
            "aio.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post(",
            ["stock_id", "coupon_code_list", "upload_request_no"],
        ),
        ("wxpay.v3.certificates.get.raw(", ["algorithm_type"]),
    ],
)
def test_jedi_sees_the_parameters_of_a_call(names: dict[str, Any], line: str, parameters: list[str]) -> None:
    (signature,) = jedi.Interpreter(line, [names]).get_signatures()
    assert [one.name for one in signature.params] == parameters
    assert ": " in signature.params[0].to_string()


def test_a_parameter_that_was_filled_is_not_asked_for_again(names: dict[str, Any]) -> None:
    call = names["wxpay"].v3.marketing.busifavor.stocks["98065001"].couponcodes.post
    signature = inspect.signature(call)
    assert list(signature.parameters) == ["coupon_code_list", "upload_request_no"]
    assert signature.return_annotation is UploadedCodes


@every(OPERATIONS, chain_of)
def test_every_call_says_its_official_name_its_fields_and_its_errors(operation: Any, names: dict[str, Any]) -> None:
    node: Any = names["wxpay"]
    for segment in chain_of(operation).split("."):
        node = getattr(node, segment)
    told = inspect.getdoc(node) or ""
    assert told.startswith(f"{operation.summary}\n  {operation.verb} {operation.path}\n")
    assert all(f"  {name}  " in told for name in operation.request.__struct_fields__)
    assert all(error.__name__ in told for error in operation.errors)
    assert list(inspect.signature(node).parameters) == list(inspect.signature(operation.request).parameters)


@pytest.mark.parametrize(
    ("chain", "hint"),
    [
        ("stocks.get", 'it has _stock_id_, and post: fill in stock_id first, stocks["…"].get'),
        ("stocks.couponcodes", 'fill in stock_id first, stocks["…"].couponcodes'),
        ("users.coupons", "fill in openid first, users"),
        ("stock", "it has stocks, coupons"),
    ],
)
def test_a_segment_in_the_wrong_place_says_where_it_is(names: dict[str, Any], chain: str, hint: str) -> None:
    node = names["wxpay"].v3.marketing.busifavor
    with pytest.raises(AttributeError) as refused:
        functools.reduce(getattr, chain.split("."), node)
    assert hint in str(refused.value)


def test_limits_stand_beside_a_field(names: dict[str, Any]) -> None:
    told = inspect.getdoc(names["wxpay"].v3.marketing.busifavor.stocks.post) or ""
    assert "stock_type  required, one of DISCOUNT, EXCHANGE, NORMAL" in told
    assert "stock_name  required, text of 1 to 21 characters" in told
    assert "ResourceAlreadyExists (RESOURCE_ALREADY_EXISTS)" in told
