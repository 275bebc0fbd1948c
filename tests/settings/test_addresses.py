"""Addresses in settings: one form for each host, and a reason for each that can't be right."""

from __future__ import annotations

from quanma.settings import addresses
from quanma.settings.addresses import Wrong
from tests.support.every import every_row


@every_row(
    ("given", "kept"),
    [
        ("https://api.mch.weixin.qq.com", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com/", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com:443", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com:443/", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com:", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com.", "https://api.mch.weixin.qq.com"),
        ("HTTPS://API.mch.Weixin.qq.com", "https://api.mch.weixin.qq.com"),
        ("https://api.mch.weixin.qq.com:0443", "https://api.mch.weixin.qq.com"),
        ("http://api.mch.weixin.qq.com:443", "http://api.mch.weixin.qq.com:443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.0.0.1:8460/", "http://127.0.0.1:8460"),
        ("http://[::1]:8460", "http://[::1]:8460"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("http://quanma_platform:8460", "http://quanma_platform:8460"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_origin_has_one_form(given: str, kept: str) -> None:
    assert addresses.origin(given) == kept


@every_row(
    ("given", "reason"),
    [
        ("", "(empty): it has no scheme"),
        ("api.mch.weixin.qq.com", "it has no scheme: begin it with http:// or https://"),
        ("127.0.0.1:8460", "it has no scheme"),
        ("//api.mch.weixin.qq.com", "it has no scheme"),
        ("https:/api.mch.weixin.qq.com", "it has no scheme"),
        ("ftp://api.mch.weixin.qq.com", "its scheme is none of http, https"),
        ("https://", "it names no host"),
        ("https://:443", "it names no host"),
        ("https://api.mch.weixin.qq.com/v3", "it has a path"),
        ("https://api.mch.weixin.qq.com//", "it has a path"),
        ("https://api.mch.weixin.qq.com?", "it has a ? or a #"),
        ("https://api.mch.weixin.qq.com#", "it has a ? or a #"),
        ("https://me@api.mch.weixin.qq.com", "it has a user or a password, and takes none"),
        ("https://@api.mch.weixin.qq.com", "it has a user or a password, and takes none"),
        ("http://127.0.0.1:84600", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:0", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:-1", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:８４６０", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:80:80", "its port is not a number from 1 to 65535"),
        ("http://256.1.1.1", "its host is no IPv4 address"),
        ("http://1.2.3", "its host is no IPv4 address"),
        ("http://0x7f.1", "its host is no IPv4 address"),
        ("http://127.0.0.01", "its host is no IPv4 address"),
        ("http://api..qq.com", "its host is no name"),
        ("http://-api.qq.com", "its host is no name"),
        ("http://api．qq．com", "its host is no name"),
        ("http://a%2eb", "its host is no name"),
        ("http://[::1", "(an address, 11 characters)"),
        ("http://[::g]", "is not http(s)://host[:port]"),
        ("http://[::1]x", "is not http(s)://host[:port]"),
        ("http://127.0.0.1\n", "ends in a line feed"),
        (" http://127.0.0.1", "begins with a space"),
        ("http://127.0.0.1\\v3", "is not http(s)://host[:port]"),
        ('"http://127.0.0.1"', "begins with a quote, ends in a quote"),
    ],
)
def test_an_origin_that_cannot_be_right_has_its_reason(given: str, reason: str) -> None:
    read = addresses.origin(given)
    assert isinstance(read, Wrong)
    assert reason in read.reason


@every_row(
    "given",
    [
        "http://proxy.example:3128",
        "http://proxy.example",
        "http://user:word@proxy.example:3128/",
        "http://user:w%2Ford%40@10.0.0.1:3128",
        "https://proxy.example:3128",
        "socks5://127.0.0.1:1080",
        "socks5h://[::1]:1080",
    ],
)
def test_a_proxy_is_kept_as_it_was_given(given: str) -> None:
    assert addresses.proxy(given) == given


@every_row(
    "given",
    [
        "127.0.0.1:1",
        "http://127.0.0.1:99999",
        "http://",
        "ftp://127.0.0.1:1",
        "socks://127.0.0.1:1",
        "http://user:w/rd@proxy.example:3128",
        "http://user:1#rd@proxy.example:3128",
        "http://proxy.example:3128/path",
        "http://[::1:3128",
        "",
    ],
)
def test_a_proxy_that_cannot_be_right_is_refused(given: str) -> None:
    assert isinstance(addresses.proxy(given), Wrong)


@every_row(
    ("given", "shown"),
    [
        ("sqlite:///quanma.db", "sqlite:///quanma.db"),
        ("sqlite:////var/lib/quanma/quanma.db", "sqlite:////var/lib/quanma/quanma.db"),
        ("postgresql://me:word@db.example:5432/shop", "postgresql://me@db.example:5432/shop"),
        ("postgres://me:w%2Ford@db.example/shop?sslmode=require", "postgres://me@db.example/shop"),
        ("postgresql://me:w:rd@db.example/shop", "postgresql://me@db.example/shop"),
        ("postgresql://me:w@rd@db.example/shop", "postgresql://me@db.example/shop"),
        ("postgresql://a.example:5432,b.example:5433/shop", "postgresql://a.example:5432,b.example:5433/shop"),
        ("postgresql://me@[::1]:5432/shop", "postgresql://me@[::1]:5432/shop"),
        ("postgresql:///shop?host=/var/run/postgresql&password=w@rd", "postgresql:///shop"),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/shop", "postgresql://%2Fvar%2Frun%2Fpostgresql/shop"),
    ],
)
def test_a_database_url_is_kept_and_shown_without_its_password(given: str, shown: str) -> None:
    assert addresses.database(given) == given
    assert addresses.shown_database(given) == shown


@every_row(
    ("given", "reason"),
    [
        ("mysql://db.example/shop", "it does not begin with sqlite:, postgresql:, postgres:"),
        ("quanma.db", "it does not begin with sqlite:"),
        ("sqlite://quanma.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:///quanma.db?mode=ro", "no ? and no #"),
        ("postgresql://db.example", "it names no database after the host"),
        ("postgresql://me:w/rd@db.example/shop", "in a password, write @ as %40"),
        ("postgresql://me:1/rd@db.example/shop", "in a password, write @ as %40"),
        ("postgresql://me:1#rd@db.example/shop", "in a password, write @ as %40"),
        ("postgresql://db.example:99999/shop", "its port is not a number from 1 to 65535"),
        ("postgresql://db.example/shop?port=x", "its port is not a number from 1 to 65535"),
        ("postgresql://[::1/shop", "is not sqlite:///relative.db"),
        ("postgresql://me@[::g]/shop", "is not sqlite:///relative.db"),
    ],
)
def test_a_database_url_that_cannot_be_right_has_its_reason(given: str, reason: str) -> None:
    read = addresses.database(given)
    assert isinstance(read, Wrong)
    assert reason in read.reason
