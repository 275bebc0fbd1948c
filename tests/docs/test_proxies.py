"""The platform behind reverse proxies, configured as docs/en/proxies.md says: nothing is refused on their account.

Real programs and real signatures. One that is not installed is left out, by name.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma import AsyncWechatpay, Wechatpay, errors
from quanma.api.rules import BUSIFAVOR
from quanma.client.exchange import Patience
from tests.support import proxies
from tests.support.platform import Served, create_stock, merchant_config, served

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("proxies")]  # One platform for all.

REQUESTS = 2_000
AT_ONCE = 16
IN_WHEELS = ("nginx", "HAProxy", "Caddy")
ONCE = Patience(attempts_max=1)
SPECIAL = sorted(character for character in BUSIFAVOR.characters if not character.isalnum())
# Every character at the beginning, inside, at the end, alone and twice; the special ones beside each other, too.
CODES = list(
    dict.fromkeys(
        [
            *(
                form.replace("x", one)
                for one in sorted(BUSIFAVOR.characters)
                for form in ("x", "xA", "AxB", "Ax", "xx")
            ),
            *(f"A{one}{other}B" for one, other in itertools.product(SPECIAL, SPECIAL)),
        ]
    )
)


@pytest.fixture(scope="module")
def running(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = Path(shutil.copytree(made_world, tmp_path_factory.mktemp("proxied") / "world"))
    with served(world, "--database", "sqlite:///proxied.db") as platform:
        yield platform


@pytest.fixture(params=[name for name, kind in proxies.KINDS.items() if name in IN_WHEELS or kind.program()])
def name(request: pytest.FixtureRequest) -> str:
    """Of each proxy that is there. Of those that wheels have, it is said if one is not."""
    name = str(request.param)
    if proxies.KINDS[name].program() is None:
        pytest.skip(f"{name} is not installed")
    return name


def test_two_thousand_requests_with_codes_of_every_character_are_all_taken(
    running: Served, name: str, tmp_path: Path
) -> None:
    with running.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, f"behind {name}")
    with proxies.before(name, running.port, tmp_path / "proxy") as url:
        asked = asyncio.run(ask_for_all(running, url, stock_id))
    assert asked >= REQUESTS


async def ask_for_all(running: Served, url: str, stock_id: str) -> int:
    """Upload, list, show and delete through the proxy. Returns how many requests were answered; none may be refused."""
    asked = 0
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncWechatpay.from_config(merchant_config(running.world), base_url=url) as wxpay:
        couponcodes = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes
        for number, batch in enumerate(batches(CODES, 200)):
            uploaded = await couponcodes.post(coupon_code_list=batch, upload_request_no=f"proxied-{number}")
            assert uploaded.success_codes == batch
            asked += 1
        listed = [await couponcodes.get(limit=100, offset=offset) for offset in range(0, len(CODES), 100)]
        assert [code.code for page in listed for code in page.data] == CODES
        asked += len(listed)

        async def shown(code: str) -> None:
            async with places:
                node = couponcodes._coupon_code_
                answer: Any = await node.get(coupon_code=code, appid="wx1")
                assert answer.code_information.code == code

        async def deleted(code: str) -> None:
            async with places:
                await couponcodes._coupon_code_.delete(coupon_code=code, delete_request_no=f"d {code}")

        wanted = list(itertools.islice(itertools.cycle(CODES), REQUESTS - asked - len(CODES)))
        await asyncio.gather(*map(shown, wanted))
        await asyncio.gather(*map(deleted, CODES))
        assert (await couponcodes.get()).total_count == 0
        picture = await wxpay.v3.marketing.favor.media.image_upload.post(filename="logo.png", file=bytes(1_400_000))
        assert picture.media_url
        return asked + len(wanted) + len(CODES) + 2


def batches(codes: list[str], size: int) -> list[list[str]]:
    return [codes[start : start + size] for start in range(0, len(codes), size)]


def test_what_is_for_inside_is_not_shown_outside(running: Served, name: str, tmp_path: Path) -> None:
    with proxies.before(name, running.port, tmp_path / "proxy") as url:
        for page in ("/metrics", "/healthz", "/readyz", "/openapi.json"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + page, timeout=10)
            assert refused.value.code in (403, 404)
            refused.value.close()


def test_a_page_of_the_proxys_own_is_not_taken_for_the_platforms_answer(
    running: Served, name: str, tmp_path: Path
) -> None:
    with (
        proxies.before(name, running.port, tmp_path / "proxy", ("v3", "v4")) as url,
        Wechatpay.from_config(merchant_config(running.world), base_url=url) as wxpay,
        pytest.raises(errors.NotThePlatform, match=r"^HTTP 40[34] from something in between"),
    ):
        wxpay.v3.marketing.busifavor.stocks["98065001"].get()


def test_a_platform_that_is_down_is_told_as_the_proxys_word(running: Served, name: str, tmp_path: Path) -> None:
    nobody = proxies._free_port()
    with (
        proxies.before(name, nobody, tmp_path / "proxy") as url,
        Wechatpay.from_config(merchant_config(running.world), base_url=url, patience=ONCE) as wxpay,
        pytest.raises(errors.GatewayFailed, match="from something in between") as failed,
    ):
        wxpay.v3.certificates.get()
    assert failed.value.may_have_executed


WRONG = {
    "nginx": (("proxy_pass http://quanma;  # nothing", "proxy_pass http://quanma/v3/;  # nothing"), "B%3DC", "B=C"),
    "Apache": (("nocanon ", ""), "B%3DC", "B=C"),
    "lighttpd": (("disable", "enable"), "D%2FE", "D/E"),
}


@pytest.mark.parametrize("proxy", [name for name in WRONG if name in IN_WHEELS or proxies.KINDS[name].program()])
def test_a_proxy_that_writes_paths_anew_is_named_with_what_it_changed(
    running: Served, proxy: str, tmp_path: Path
) -> None:
    if proxies.KINDS[proxy].program() is None:
        pytest.skip(f"{proxy} is not installed")
    change, sent, arrived = WRONG[proxy]
    with (
        proxies.before(proxy, running.port, tmp_path / "proxy", change) as url,
        Wechatpay.from_config(merchant_config(running.world), base_url=url) as wxpay,
        pytest.raises(errors.SignError) as refused,
    ):
        wxpay.v3.marketing.busifavor.stocks["98065001"].couponcodes._coupon_code_.get(coupon_code="AB=CD/EFGH")
    said = f"the target was changed on the way, in coupon_code: …{sent}… was signed and …{arrived}… arrived"
    assert said in str(refused.value)


def test_a_proxy_that_takes_the_authorization_header_away_is_told_by_both_sides(
    running: Served, tmp_path: Path
) -> None:
    if proxies.KINDS["nginx"].program() is None:
        pytest.skip("nginx is not installed")
    change = ('proxy_set_header Connection "";', 'proxy_set_header Connection ""; proxy_set_header Authorization "";')
    with (
        proxies.before("nginx", running.port, tmp_path / "proxy", change) as url,
        Wechatpay.from_config(merchant_config(running.world), base_url=url) as wxpay,
        pytest.raises(errors.SignError, match="whether a proxy takes the Authorization header away"),
    ):
        wxpay.v3.certificates.get()
    assert "a signature was refused: no Authorization header" in (running.world / "serve.log").read_text()
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
        assert re.search(r'quanma_signature_refusals_total{cause="no_authorization"} [1-9]', answer.read().decode())
