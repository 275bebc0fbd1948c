"""Where events may be posted: nothing inside can be reached, however it is spelt and whatever a name says later."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url

from quanma.errors import ParamError
from quanma.platform.notify import addresses
from quanma.platform.notify.addresses import Checked, HostRefused, check_address, is_public, resolve
from tests.support.every import every, every_row

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
INSIDE = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "this host",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "169.254.169.254": "link-local, where clouds keep their secrets",
    "100.64.0.1": "carrier's NAT",
    "100.127.255.255": "carrier's NAT",
    "192.0.0.1": "protocol assignments",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarks",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4, the old way",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:10.0.0.1": "IPv4-mapped",
    "::ffff:169.254.169.254": "IPv4-mapped",
    "::ffff:100.64.0.1": "IPv4-mapped",
    "fe80::1": "link-local",
    "fe80::1%1": "link-local, of one interface",
    "fec0::1": "site-local",
    "fc00::1": "private",
    "fd12:3456::1": "private",
    "ff02::1": "multicast",
    "2001:db8::1": "documentation",
    "100::1": "discard",
    "3fff::1": "documentation, the newer one",
    "3fff:fff::1": "documentation, the newer one",
    "5f00::1": "segment routing",
    "192.88.99.1": "relays of 6to4, given up",
    "2002:7f00:1::": "6to4 of 127.0.0.1",
    "2002:a9fe:a9fe::": "6to4 of 169.254.169.254",
    "64:ff9b::127.0.0.1": "NAT64 of 127.0.0.1",
    "64:ff9b::a00:1": "NAT64 of 10.0.0.1",
    "64:ff9b::100.64.0.1": "NAT64 of the carrier's NAT",
    "64:ff9b:1::a00:1": "NAT64 of a local network",
    "2001:0:7f00:1::": "Teredo",
    "2001:0:808:808:0:0:80ff:fffe": "Teredo of 127.0.0.1",
}


@every(PUBLIC)
def test_an_address_on_the_public_network_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@every(INSIDE)
def test_an_address_inside_is_not_however_it_is_wrapped(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def host_of(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@every([address for address in INSIDE if "%" not in address])
def test_an_address_inside_is_refused_when_it_is_set(address: str) -> None:
    with pytest.raises(ParamError, match="notify_url is not a public address"):
        check_address(f"https://{host_of(address)}/notify", allow_private=False)


@every_row(
    "notify_url",
    [
        "https://pay.example.com/notify",
        "https://pay.example.com:8443/a/b",
        "https://8.8.8.8/",
        "https://PAY.example.com",
    ],
)
def test_a_public_https_address_is_taken(notify_url: str) -> None:
    check_address(notify_url, allow_private=False)


SPELLINGS = [
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0",
    "0x0",
    "localhost",
    "LOCALHOST",
    "a.localhost",
]


@every_row("host", SPELLINGS)
def test_another_spelling_of_an_address_inside_is_refused_when_it_is_set(host: str) -> None:
    with pytest.raises(ParamError, match="notify_url is not a public address"):
        check_address(f"https://{host}/notify", allow_private=False)


@every_row(
    "notify_url",
    [
        "ftp://pay.example.com/notify",
        "//pay.example.com/notify",
        "https://user@pay.example.com/",
        "https://user:secret@pay.example.com/",
        "https://pay.example.com@127.0.0.1/",
        "https://pay.example.com/notify?x=1",
        "https://pay.example.com?",
        "https://pay.example.com/notify#x",
        "https:///notify",
        "https://",
        "notify",
        "",
        "https://pay.example.com/" + "a" * 233,
        "https://pay.example.com/a\nb",
        "https://pay.example.com/\n",
        "https://pay.example.com:99999/",
        "https://pay.example.com:0/",
        "https://pay.example.com:/",
        "https://pay.example.com:x/",
        "https://[::1/",
        "https://[fe80::1%251]/",
        "https://pay..example.com/",
        "https://.example.com/",
        "https://" + "a" * 64 + ".example.com/",
        # One reader of addresses takes these for 127.0.0.1, another for a name that ends in example.com.
        "https://127.0.0.1\\.example.com/",
        "https://127.0.0.1\\@example.com/",
        "https://127.0.0.1%2f.example.com/",
        "https://127.0.0.1;.example.com/",
        "https://127.0.0.1./",
        "https://localhost./",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
        "https://ⓛocalhost/",
    ],
)
def test_what_is_not_of_the_one_form_is_refused(notify_url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(
            ParamError, match=r"notify_url must be https://host/path or https://host:port/path"
        ) as refused:
            check_address(notify_url, allow_private=allow_private)
        assert "secret" not in str(refused.value)


def test_plain_http_is_refused() -> None:
    with pytest.raises(ParamError, match="notify_url must be https"):
        check_address("http://pay.example.com/notify", allow_private=False)


def test_where_private_addresses_are_allowed_tests_can_receive() -> None:
    check_address("http://127.0.0.1:8470/", allow_private=True)
    check_address("http://localhost/", allow_private=True)
    check_address("http://[::1]:8470/", allow_private=True)


@every_row("notify_url", ["https://pay.example.0/", "https://pay.example.17/", "https://1.2.3.4.5/"])
def test_a_host_that_ends_in_a_number_is_an_address_or_nothing(notify_url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(ParamError, match="notify_url must be https://host/path"):
            check_address(notify_url, allow_private=allow_private)


@every_row("there", ["8.8.8.8", "other.example", "pay.example.com.other.example", "xn--pay.example.com"])
def test_a_host_that_the_library_reads_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    class Url:
        def __init__(self, url: str) -> None:
            self.host_str = there

    monkeypatch.setattr(addresses, "Url", Url)
    for allow_private in (False, True):
        with pytest.raises(ParamError, match=f"read as {there} when it is connected to"):
            check_address("https://pay.example.com/notify", allow_private=allow_private)


def test_a_name_that_the_library_does_not_take_is_refused() -> None:
    with pytest.raises(ParamError, match="notify_url must be https://host/path"):
        check_address("https://xn--a.example/", allow_private=False)


@every_row("host", ["pay.example.com", "PAY.Example.com", "8.8.8.8", "[2606:4700:4700:0::1111]"])
def test_what_is_checked_is_what_the_library_reads(host: str) -> None:
    url = f"https://{host}/notify"
    check_address(url, allow_private=False)
    read, written = (Url(url).host_str or "").strip("[]"), host.lower().strip("[]")
    assert read == written or ipaddress.ip_address(read) == ipaddress.ip_address(written)


REFUSED = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("2001:4860::/32"))


@pytest.mark.parametrize("address", ["168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16", "2001:4860::8"])
def test_a_network_that_a_setting_refuses_is_refused_however_it_is_wrapped(names: Found, address: str) -> None:
    names["pay.example.com"] = [address]
    for allow_private in (False, True):
        with pytest.raises(ParamError, match="notify_url is not a public address"):
            check_address(f"https://{host_of(address)}/", allow_private=allow_private, refused=REFUSED)
        with pytest.raises(HostRefused):
            asyncio.run(resolve("https://pay.example.com/", allow_private=allow_private, refused=REFUSED))


def test_its_neighbours_are_not_refused(names: Found) -> None:
    names["pay.example.com"] = ["168.63.129.17", "8.8.8.8"]
    found = asyncio.run(resolve("https://pay.example.com/", allow_private=False, refused=REFUSED))
    assert found.address == "168.63.129.17"


def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    assert resolved("https://8.8.8.8:8443/") == Checked("8.8.8.8", 8443, "8.8.8.8")
    assert resolved("http://[::1]/", allow_private=True) == Checked("::1", 80, "::1")


# Names: the resolver answers here, since no name may be looked up in a test.

Found = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Found:
    """The addresses of names; one that is missing does not exist."""
    known: Found = {}

    def getaddrinfo(host: str, port: int, *args: object, **kwargs: object) -> object:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def resolved(notify_url: str, *, allow_private: bool = False) -> Checked:
    return asyncio.run(resolve(notify_url, allow_private=allow_private))


def test_a_name_leads_to_the_address_that_was_checked(names: Found) -> None:
    names["pay.example.com"] = ["93.184.216.34"]
    assert resolved("https://pay.example.com/notify") == Checked("pay.example.com", 443, "93.184.216.34")
    assert resolved("https://PAY.example.com:8443/") == Checked("pay.example.com", 8443, "93.184.216.34")


@every(INSIDE)
def test_a_name_that_means_an_address_inside_is_refused(address: str, names: Found) -> None:
    names["pay.example.com"] = [address]
    with pytest.raises(ParamError, match="has an address that is not public"):
        resolved("https://pay.example.com/notify")


def test_one_address_inside_among_public_ones_is_enough(names: Found) -> None:
    names["pay.example.com"] = ["93.184.216.34", "10.0.0.1"]
    with pytest.raises(ParamError, match="has an address that is not public"):
        resolved("https://pay.example.com/notify")


def test_a_name_that_does_not_exist_is_refused(names: Found) -> None:
    with pytest.raises(ParamError, match="the host of notify_url has no address"):
        resolved("https://pay.example.com/notify")


def test_a_name_is_looked_up_anew(names: Found) -> None:
    names["pay.example.com"] = ["93.184.216.34"]
    resolved("https://pay.example.com/")
    names["pay.example.com"] = ["127.0.0.1"]
    with pytest.raises(ParamError, match="not public"):
        resolved("https://pay.example.com/")


@pytest.mark.parametrize("host", ["pay.example.invalid", "PAY.Example.Invalid"])
def test_the_connection_goes_to_the_address_that_was_checked_whatever_the_name_says_now(
    names: Found, host: str
) -> None:
    # The name exists nowhere else: only the address that was checked can be connected to.
    names["pay.example.invalid"] = ["127.0.0.1"]

    async def story() -> bytes:
        reached: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://{host}:{server.sockets[0].getsockname()[1]}/notify"
            where = await resolve(url, allow_private=True)
            builder = ClientBuilder().no_proxy().resolve(where.host, where.address, where.port)
            async with builder.build() as client:
                await client.post(url).build().send()
            return await reached

    assert asyncio.run(story()).startswith(b"POST /notify HTTP/1.1\r\n")
