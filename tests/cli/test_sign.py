"""`quanma sign` and `quanma openapi`: what other programs are given to call the platform with."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from quanma.api.tree import OPERATIONS
from tests.cli.conftest import Quanma
from tests.support.every import every_row
from tests.support.platform import Served

BODIES = [
    ("POST", "/v3/security/echo", '{"echo_message":"券 \'quoted\' $HOME `x` \\\\ !"}', 200),
    ("POST", "/v3/security/echo", '{ "echo_message" : "a" }\n', 200),
    ("GET", "/v3/certificates", None, 200),
    ("GET", "/v3/certificates?algorithm_type=RSA", None, 200),
    ("get", "/v3/marketing/busifavor/stocks/1/couponcodes/A%2FB%7CC=D%20E", None, 404),
    ("GET", "/v3/marketing/busifavor/stocks/1/couponcodes/A|B\\C", None, 404),
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@every_row(("method", "path", "data", "status"), BODIES)
def test_the_curl_line_works(quanma: Quanma, method: str, path: str, data: str | None, status: int) -> None:
    ended = quanma("sign", method, path, "--curl", *(["--data", data] if data is not None else []))
    assert ended.status == 0
    words = shlex.split(ended.out)
    done = subprocess.run([*words, "--write-out", "\n%{http_code}"], capture_output=True, text=True)
    assert done.stdout.rpartition("\n")[2] == str(status), done.stdout


@every_row(("method", "path", "data", "status"), BODIES)
def test_a_shell_reads_the_line_as_it_is_meant(
    quanma: Quanma, served: Served, method: str, path: str, data: str | None, status: int
) -> None:
    """What curl would be given: the address, the headers, the body."""
    line = quanma("sign", method, path, "--curl", *(["--data", data] if data is not None else [])).out
    shell = subprocess.run(["sh", "-c", f"curl() {{ printf '%s\\0' \"$@\"; }}; {line}"], capture_output=True, text=True)
    words = shell.stdout.split("\0")[:-1]
    assert words[2:7] == ["--globoff", "--path-as-is", "--request", method.upper(), served.url + path]
    assert words[words.index("--data-binary") + 1 :] == [data] if data is not None else "--data-binary" not in words


def test_a_file_is_signed_byte_for_byte_and_sent_so(quanma: Quanma, tmp_path: Path) -> None:
    (tmp_path / "echo.json").write_bytes('{\r\n  "echo_message": "券"\r\n}\r\n'.encode())
    line = quanma("sign", "POST", "/v3/security/echo", "--data", "@echo.json", "--curl").out
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    done = subprocess.run(shlex.split(line), capture_output=True, text=True)
    assert json.loads(done.stdout) == {"echo_message": "券"}


def test_headers_are_printed_above_the_line(quanma: Quanma) -> None:
    out = quanma("sign", "GET", "/v3/certificates").out
    headers, _, line = out.partition("\n\n")
    assert [one.partition(": ")[0] for one in headers.splitlines()] == [
        "Authorization",
        "Accept",
        "User-Agent",
        "Wechatpay-Serial",
    ]
    assert all(one in line for one in headers.splitlines())


@every_row(
    ("words", "status"),
    [
        (["GET", "v3/certificates"], 1),
        (["GET", "/v3/券"], 1),
        (["GET", "/v3/a b"], 1),
        (["GET", "/v3/a#b"], 1),
        (["GET", "/v3/certificates", "--data", "{}"], 2),
        (["POST", "/v3/security/echo", "--data", "@absent.json"], 1),
        (["FETCH", "/v3/certificates"], 2),
    ],
)
def test_what_cant_be_signed_is_refused_in_words(quanma: Quanma, words: list[str], status: int) -> None:
    ended = quanma("sign", *words)
    assert (ended.status, ended.out) == (status, "")
    assert len(ended.err.splitlines()) <= 5


def test_the_document_has_every_operation_and_the_servers_that_are_named(quanma: Quanma) -> None:
    document = json.loads(quanma("openapi", "--server", "http://127.0.0.1:8460", "--server", "https://b.example").out)
    assert document["servers"] == [{"url": "http://127.0.0.1:8460"}, {"url": "https://b.example"}]
    assert sum(len(verbs) for verbs in document["paths"].values()) == len(OPERATIONS)


def test_without_a_server_the_calls_go_to_WeChat_Pay(quanma: Quanma) -> None:
    assert json.loads(quanma("openapi").out)["servers"] == [{"url": "https://api.mch.weixin.qq.com"}]
