"""The chain as users write it, sync and async: every spelling, what is refused before sending, what sends nothing."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle
import re
import secrets
import shutil
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma import AsyncWechatpay, Wechatpay
from quanma.api.couponcodes import CouponCodes, UploadCodes
from quanma.client.config import Merchant
from quanma.client.exchange import Patience
from quanma.client.transport import Reply, Request
from quanma.errors import NotSent, RequestInvalid, ResourceNotExists
from quanma.wire import signature
from quanma.wire.keys import load_private_key, private_pem, public_pem
from tests.support.every import every_row
from tests.support.platform import InProcess, create_stock, new_stock

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text("utf-8"))
DER = base64.b64decode(VECTORS["sha256_rsa2048_sign"]["private_key_pkcs8_der_base64"])
PEM = private_pem(DER, "the published key")
STOCK = "/v3/marketing/busifavor/stocks/98065001"


class Unplugged:
    """A network that reaches nobody, and remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[Request] = []

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        self.sent.append(request)
        raise NotSent("unplugged")

    def close(self) -> None:
        pass


MERCHANT = Merchant(
    mchid="1900000001",
    serial_no="ABCDEF",
    private_key=PEM,
    apiv3_key="k" * 32,
    platform_keys={"PUB_KEY_ID_01": public_pem(load_private_key(PEM.encode(), "a key")).decode()},
)
NETWORK = Unplugged()
WXPAY = Wechatpay(MERCHANT, patience=Patience(attempts_max=1), transport=NETWORK)


@pytest.fixture
def network() -> Unplugged:
    NETWORK.sent.clear()
    return NETWORK


@pytest.fixture
def wxpay(network: Unplugged) -> Wechatpay:
    """A client that reaches nobody."""
    return WXPAY


@pytest.fixture(scope="module")
def platform(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """One for all tests here: each has a stock of its own."""
    world = shutil.copytree(made_world, tmp_path_factory.mktemp("client") / "world")
    running = InProcess(Path(world), "sqlite:///quanma.db")
    yield running
    running.close()


@pytest.fixture
def stock_id(platform: InProcess) -> str:
    return create_stock(platform.wechatpay(), secrets.token_hex(8))


def by_keywords(stocks: Any, stock_id: str, call: Callable[[Any], Any]) -> Any:
    post = call(stocks._stock_id_.couponcodes.post)
    return post(stock_id=stock_id, coupon_code_list=["A1", "A/2"], upload_request_no="n1")


def by_a_mapping(stocks: Any, stock_id: str, call: Callable[[Any], Any]) -> Any:
    post = call(stocks._stock_id_.couponcodes.post)
    return post({"coupon_code_list": ["A1", "A/2"], "upload_request_no": "n1"}, stock_id=stock_id)


def by_the_shorthand(stocks: Any, stock_id: str, call: Callable[[Any], Any]) -> Any:
    # The node itself has no .raw: it is the call.
    node = stocks._stock_id_.couponcodes
    return call(node.__call__)(stock_id=stock_id, coupon_code_list=["A1", "A/2"], upload_request_no="n1")


def below_a_filled_variable(stocks: Any, stock_id: str, call: Callable[[Any], Any]) -> Any:
    return call(stocks[stock_id].couponcodes.post)(coupon_code_list=["A1", "A/2"], upload_request_no="n1")


SPELLINGS = (by_keywords, by_a_mapping, by_the_shorthand, below_a_filled_variable)


def test_the_spellings_are_one_request_sync(platform: InProcess, stock_id: str) -> None:
    wxpay = platform.wechatpay()
    stocks = wxpay.v3.marketing.busifavor.stocks
    first, *others = [spelling(stocks, stock_id, lambda call: call) for spelling in SPELLINGS]
    assert first.success_codes == ["A1", "A/2"]
    # The same number with the same codes: the first answer again, so all four were the same request.
    assert others == [first, first, first]


def test_the_spellings_are_one_request_async(platform: InProcess, stock_id: str) -> None:
    async def story() -> list[Any]:
        async with platform.async_wechatpay() as wxpay:
            stocks = wxpay.v3.marketing.busifavor.stocks
            return [await spelling(stocks, stock_id, lambda call: call) for spelling in SPELLINGS]

    first, *others = asyncio.run(story())
    assert first.success_codes == ["A1", "A/2"]
    assert others == [first, first, first]


def test_raw_returns_all_that_came_with_the_answer(platform: InProcess, stock_id: str) -> None:
    wxpay = platform.wechatpay()
    answer = wxpay.v3.marketing.busifavor.stocks[stock_id].get.raw()
    assert (answer.data.stock_id, answer.status_code) == (stock_id, 200)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.request_id == answer.headers["request-id"]


def test_raw_is_awaited_like_the_rest(platform: InProcess, stock_id: str) -> None:
    async def story() -> Any:
        async with platform.async_wechatpay() as wxpay:
            return await wxpay.v3.marketing.busifavor.stocks[stock_id].get.raw()

    assert asyncio.run(story()).data.stock_id == stock_id


def test_a_mapping_may_hold_mappings_and_structs(platform: InProcess) -> None:
    stock = new_stock(secrets.token_hex(8))
    body: Any = {name: getattr(stock, name) for name in stock.__struct_fields__ if getattr(stock, name) is not None}
    body["stock_send_rule"] = {"max_coupons": 10, "max_coupons_per_user": 1}
    wxpay = platform.wechatpay()
    stock_id = wxpay.v3.marketing.busifavor.stocks.post(body).stock_id
    assert wxpay.v3.marketing.busifavor.stocks[stock_id].get().stock_send_rule.max_coupons == 10


def test_a_refusal_is_raised_with_its_request_id_and_its_signature_checked(platform: InProcess) -> None:
    wxpay = platform.wechatpay()
    with pytest.raises(ResourceNotExists) as refused:
        wxpay.v3.marketing.busifavor.stocks["404"].get()
    assert refused.value.verified
    assert re.fullmatch(r"[0-9A-F]{32}-404", refused.value.request_id or "")


def test_an_undeclared_path_is_called_and_its_answer_verified(platform: InProcess, stock_id: str) -> None:
    wxpay = platform.wechatpay()
    chain = wxpay.chain("v3/marketing/busifavor/stocks/{stock_id}/couponcodes")
    body = {"coupon_code_list": ["A/1"], "upload_request_no": "n1"}
    assert chain.post(body, stock_id=stock_id)["success_codes"] == ["A/1"]
    assert chain.get(stock_id=stock_id, limit=5)["total_count"] == 1
    one = wxpay.chain_raw("/v3/marketing/busifavor/stocks/{stock_id}/couponcodes/{coupon_code}")
    assert one.get(stock_id=stock_id, coupon_code="A/1").data["code_information"]["code"] == "A/1"


def test_an_undeclared_path_is_awaited_by_the_async_client(platform: InProcess) -> None:
    async def story() -> Any:
        async with platform.async_wechatpay() as wxpay:
            return await wxpay.chain("v3/certificates").get()

    assert len(asyncio.run(story())["data"]) == 1


@every_row(
    ("parameters", "target"),
    [
        ({"stock_id": "98065001"}, STOCK),
        ({"stock_id": "98065001", "limit": 5, "exact": True, "appid": None}, f"{STOCK}?limit=5&exact=true"),
        ({"stock_id": "A/1 |"}, "/v3/marketing/busifavor/stocks/A%2F1%20%7C"),
        ({"stock_id": "98065001", "code": "A/1 +&"}, f"{STOCK}?code=A%2F1%20%2B%26"),
    ],
)
def test_keywords_fill_the_path_and_the_rest_is_the_query(
    wxpay: Wechatpay, network: Unplugged, parameters: dict[str, Any], target: str
) -> None:
    with pytest.raises(NotSent):
        wxpay.chain("v3/marketing/busifavor/stocks/{stock_id}").get(**parameters)
    assert network.sent[-1].url == f"https://api.mch.weixin.qq.com{target}"


@pytest.mark.slow
def test_a_call_to_another_host_goes_there_with_its_slash_and_its_body_and_nowhere_else(network: Unplugged) -> None:
    wxpay = Wechatpay(MERCHANT, patience=Patience(deadline_seconds=9, attempts_max=2), transport=network)
    with pytest.raises(NotSent):
        wxpay.chain("hk/v3/x/{id}/", host="https://APIHK.mch.weixin.qq.com/").delete({"reason": "x"}, id="A/1")
    assert [(one.verb, one.url, one.body) for one in network.sent] == [
        ("DELETE", "https://apihk.mch.weixin.qq.com/hk/v3/x/A%2F1/", b'{"reason":"x"}')
    ] * 2
    (signed,) = {signature.parse_authorization(one.headers["Authorization"]) for one in network.sent[:1]}
    message = signature.request_message(
        "DELETE", "/hk/v3/x/A%2F1/", signed.timestamp, signed.nonce_str, b'{"reason":"x"}'
    )
    signature.check_signature(load_private_key(PEM.encode(), "a key").public_key(), signed.signature, message)


@every_row(
    "path",
    [
        *("v2/x", "v3", "v3/", "v3//x", "v3/x//", "https://api.mch.weixin.qq.com/v3/x", "//v3/x", "v3/x?y=1", "v3/x#y"),
        *("v3/../x", "v3/x/..", "v3/./x", "v3/%2e%2E/x", "v3/.%2e/x", "v3/x/%2e"),
        *("v3/{x", "v3/x}", "v3/{}", "v3/a b", "v3/券", "v3/a\\b", "v3/x\n"),
    ],
)
def test_a_path_that_would_be_sent_otherwise_than_signed_is_refused(wxpay: Wechatpay, path: str) -> None:
    with pytest.raises(RequestInvalid, match="is not a path like v3/pay"):
        wxpay.chain(path)


Use = Callable[[Any], Any]


@every_row(
    ("use", "reason"),
    [
        (
            lambda stocks: stocks._stock_id_.couponcodes.post(stock_id="1", upload_no="n"),
            "has no field upload_no; it has",
        ),
        (lambda stocks: stocks._stock_id_.couponcodes.post(stock_id="1"), "missing required field"),
        (lambda stocks: stocks._stock_id_.couponcodes.post({"upload_no": "n"}, stock_id="1"), "has no field upload_no"),
        (lambda stocks: stocks._stock_id_.couponcodes({"upload_no": "n"}, stock_id="1"), "has no field upload_no"),
        (lambda stocks: stocks["1"].couponcodes.post(upload_no="n"), "has no field upload_no"),
        (lambda stocks: stocks["1"].get(stock_id="2"), "was given stock_id twice"),
        (lambda stocks: stocks._stock_id_.get({"stock_id": "1"}, stock_id="1"), "was given stock_id twice"),
        (lambda stocks: stocks._stock_id_.get("1"), "takes keywords, or one mapping for the JSON body"),
        (lambda stocks: stocks._stock_id_.get({}, {}), "takes keywords, or one mapping for the JSON body"),
        (lambda stocks: stocks[98065001].get(), "Expected `str`, got `int` - at `$.stock_id`"),
        (lambda stocks: stocks[""].get(), "length >= 1"),
        (lambda stocks: stocks[".."].get(), "can stand between slashes, not '..'"),
        (lambda stocks: stocks.post({"stock_send_rule": {"max_coupon": 1}}), "has no field max_coupon; it has"),
        (lambda stocks: stocks.post(stock_send_rule={"max_coupon": 1}), "has no field max_coupon; it has"),
    ],
)
def test_a_request_that_breaks_its_declaration_is_refused_and_nothing_is_sent(
    wxpay: Wechatpay, network: Unplugged, use: Use, reason: str
) -> None:
    with pytest.raises(RequestInvalid, match=re.escape(reason)):
        use(wxpay.v3.marketing.busifavor.stocks)
    assert network.sent == []


@every_row(
    ("use", "shown"),
    [
        (repr, "<Stocks /v3/marketing/busifavor/stocks>"),
        (str, "<Stocks /v3/marketing/busifavor/stocks>"),
        (lambda stocks: repr(stocks.post), "<Call POST /v3/marketing/busifavor/stocks>"),
        (lambda stocks: repr(copy.copy(stocks)), "<Stocks /v3/marketing/busifavor/stocks>"),
        (lambda stocks: repr(copy.deepcopy({"kept": stocks})["kept"]), "<Stocks /v3/marketing/busifavor/stocks>"),
        (lambda stocks: "_stock_id_" in dir(stocks), True),
        (lambda stocks: hasattr(stocks, "_repr_html_"), False),
        (lambda stocks: hasattr(stocks, "_ipython_display_"), False),
        (lambda stocks: hasattr(stocks, "__await__"), False),
        (lambda stocks: callable(stocks._stock_id_), False),
    ],
)
def test_looking_at_a_half_built_chain_sends_nothing(
    wxpay: Wechatpay, network: Unplugged, use: Use, shown: object
) -> None:
    assert use(wxpay.v3.marketing.busifavor.stocks) == shown
    assert network.sent == []


async def awaited(node: Awaitable[Any]) -> None:
    await node


@every_row(
    ("use", "error", "reason"),
    [
        (lambda stocks: asyncio.run(awaited(stocks)), TypeError, "can't be used in 'await' expression"),
        (lambda stocks: asyncio.run(awaited(stocks.post)), TypeError, "can't be used in 'await' expression"),
        (pickle.dumps, TypeError, "holds a client's keys and connections and can't be pickled"),
        (lambda stocks: pickle.dumps(stocks.post), TypeError, "can't be pickled: make one where it is used"),
        (list, TypeError, "not iterable"),
        (lambda stocks: "98065001" in stocks, TypeError, "not a container"),
        (lambda stocks: stocks.couponcodes, AttributeError, "has no segment 'couponcodes'; it has _stock_id_"),
        (lambda stocks: stocks._stock_id_.couponcodes._coupon_code_.x, AttributeError, "'x'; it has none"),
    ],
)
def test_what_a_half_built_chain_can_not_do_fails_and_sends_nothing(
    wxpay: Wechatpay, network: Unplugged, use: Use, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=re.escape(reason)):
        use(wxpay.v3.marketing.busifavor.stocks)
    assert network.sent == []


def test_a_call_whose_await_was_forgotten_sends_nothing_and_python_says_so() -> None:
    network = Unplugged()

    class AsyncUnplugged:
        async def send(self, request: Request, timeout_seconds: float) -> Reply:
            return network.send(request, timeout_seconds)

        async def close(self) -> None:
            pass

    wxpay = AsyncWechatpay(MERCHANT, transport=AsyncUnplugged())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wxpay.v3.certificates.get()  # type: ignore[unused-awaitable]
        said = str(caught[0].message)
        caught.clear()  # A warning keeps its coroutine alive.
    assert "was never awaited" in said
    assert network.sent == []


def test_a_client_is_a_context_manager_and_holds_what_it_is_not_to_tell() -> None:
    wxpay = Wechatpay(MERCHANT, transport=NETWORK)
    with wxpay as entered:
        assert repr(entered) == "<Wechatpay 1900000001 at https://api.mch.weixin.qq.com>"
    with pytest.raises(TypeError, match="holds keys and connections and can't be pickled"):
        pickle.dumps(wxpay)
    with pytest.raises(TypeError, match="can't be pickled"):
        copy.deepcopy(wxpay)


def test_an_operation_can_be_sent_with_its_struct(platform: InProcess, stock_id: str) -> None:
    wxpay = platform.wechatpay()
    request = UploadCodes(stock_id=stock_id, coupon_code_list=["A1"], upload_request_no="n1")
    assert wxpay.send(CouponCodes.post, request).data.success_codes == ["A1"]
