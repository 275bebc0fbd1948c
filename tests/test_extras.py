"""What the base install can do, and what is said where an extra is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quanma.cli import main
from quanma.cli.commands import COMMANDS, listing
from quanma.errors import ExtraMissing, QuanmaError
from quanma.extras import EXTRAS, need
from tests.support import wheels
from tests.support.platform import Served, create_stock, merchant_config

PROJECT = tomllib.loads((wheels.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ELSEWHERE = {"uvloop"}
"""Packages of an extra that are not looked for: where there is none, something else stands in."""


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_each_extra_looks_for_the_packages_that_it_installs() -> None:
    homes = {name: {*map(canonicalize_name, found)} for name, found in packages_distributions().items()}
    for extra, modules in EXTRAS.items():
        wanted = map(Requirement, PROJECT["optional-dependencies"][extra])
        here = (one for one in wanted if one.marker is None or one.marker.evaluate())
        packages = {canonicalize_name(one.name) for one in here} - ELSEWHERE
        tops = [module.partition(".")[0] for module in modules]
        unknown = [module for module in tops if not packages & homes[module]]
        unlooked = [package for package in packages if not any(package in homes[module] for module in tops)]
        assert (unknown, unlooked) == ([], []), extra


def test_all_is_every_other_extra() -> None:
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert Requirement(everything).extras == PROJECT["optional-dependencies"].keys() - {"all"}


def test_what_is_missing_is_named_with_one_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "apsw", "httptools")
    with pytest.raises(ExtraMissing) as refused:
        need("quanma demo", "upload", "platform")
    assert str(refused.value) == (
        'quanma demo needs more than the base install: pip install "quanma[upload,platform]" '
        "(apsw, httptools are absent)"
    )
    assert refused.value.name == "apsw"


def test_an_extra_that_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "httptools")
    with pytest.raises(ExtraMissing, match=r'"quanma\[platform\]" \(httptools is absent\)$'):
        need("quanma demo", "upload", "platform")


def test_a_missing_extra_is_an_import_error_too() -> None:
    assert issubclass(ExtraMissing, ImportError)
    assert issubclass(ExtraMissing, QuanmaError)


def test_each_command_says_which_extra_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(monkeypatch, *(module for modules in EXTRAS.values() for module in modules))
    without = {"api", "request", "stock", "send", "use", "events", "init", "status", "completion"}
    without |= {"doctor", "sign", "openapi", "watch"}
    assert {name for name, command in COMMANDS.items() if not command.extras} == without
    for name, command in COMMANDS.items():
        if command.extras:
            monkeypatch.setattr(sys, "argv", ["quanma", name, "--help"])
            with pytest.raises(SystemExit) as ended:
                main.main()
            said = capsys.readouterr()
            assert ended.value.code == main.FAILED
            assert said.err.startswith(
                f'quanma: quanma {name} needs more than the base install: pip install "quanma['
                f'{",".join(command.extras)}]" ('
            )
            assert said.err.count("\n") == 1
            assert said.out == ""


def loaded_by(program: str) -> set[str]:
    """The modules that a program has loaded at its end."""
    program += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


def test_importing_the_package_imports_nothing() -> None:
    new = loaded_by("import quanma") - loaded_by("pass")
    assert new == {"quanma"}


def test_the_list_of_commands_loads_no_command_and_no_client() -> None:
    loaded = loaded_by("import sys; sys.argv = ['quanma', '--help']; from quanma.cli import start; start.main()")
    assert {name for name in loaded if name.startswith(("quanma.", "click", "typing"))} == {
        "quanma.cli",
        "quanma.cli.commands",
        "quanma.cli.language",
        "quanma.cli.start",
    }


def test_the_list_of_commands_is_the_same_on_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--help"], ["-h"]):
        assert CliRunner().invoke(main.group, arguments).output == listing() + "\n"
    started = subprocess.run([sys.executable, "-m", "quanma", "--help"], capture_output=True, check=True)
    assert started.stdout.decode() == listing() + "\n"


def test_each_command_is_in_its_module_and_says_what_it_does() -> None:
    context = click.Context(main.group)
    for name, command in COMMANDS.items():
        found = main.group.get_command(context, name)
        assert found is not None
        assert found.name == name
        assert command.line.endswith(".")


def test_the_package_offers_its_names_and_no_others() -> None:
    program = (
        "import quanma; assert {*quanma.__all__, 'errors', 'events'} <= {*dir(quanma)}; "
        "assert quanma.Wechatpay is quanma.Wechatpay; quanma.errors.NoAnswer; quanma.events.Receiver; "
        "print(hasattr(quanma, 'WechatPay'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


BASE = {"cffi", "click", "cryptography", "msgspec", "pycparser", "pyreqwest", "quanma"}
BASE_BYTES_MAX = 40_000_000


@pytest.mark.slow
def test_the_base_install_is_a_client_and_names_the_rest(serving: Served, tmp_path: Path) -> None:
    wheel = wheels.build(tmp_path)
    wheels.pack_installed(tmp_path)
    python = wheels.new_environment(tmp_path / "empty")
    wheels.install(python, tmp_path, str(wheel))
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "extras-1")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"QUANMA_CONFIG": str(merchant_config(serving.world)), "QUANMA_BASE_URL": serving.url},
        )

    (packages,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    assert {found.name.partition("-")[0] for found in packages.glob("*.dist-info")} == BASE
    assert sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) <= BASE_BYTES_MAX

    called = run(
        "-c",
        "import quanma\nwith quanma.Wechatpay.from_config() as wxpay:\n"
        f"    print(wxpay.v3.marketing.busifavor.stocks['{stock_id}']"
        ".get().coupon_code_mode)",
    )
    assert (called.stdout, called.stderr) == ("MERCHANT_UPLOAD\n", "")
    asked = run("-m", "quanma", "request", "GET", f"/v3/marketing/busifavor/stocks/{stock_id}")
    assert asked.returncode == 0, asked.stderr
    helped = run("-m", "quanma", "--help")
    assert "upload-status" in helped.stdout

    refused = run("-m", "quanma", "upload", "codes.csv", "--stock", stock_id)
    assert refused.returncode == 1
    assert refused.stderr == (
        'quanma: quanma upload needs more than the base install: pip install "quanma[upload]" '
        "(apsw, backports.zstd, numpy, rich are absent)\n"
    )
    for program, extra in (
        ("from quanma.upload import Uploader", "upload"),
        ("import quanma.upload.source", "upload"),
        ("from quanma.platform import server", "platform"),
        ("import quanma.platform.pool", "platform"),
        ("from quanma.serving import asgi", "platform"),
    ):
        imported = run("-c", f"try:\n    {program}\nexcept ImportError as absent:\n    print(absent)")
        assert f'pip install "quanma[{extra}]"' in imported.stdout, imported.stderr

    wheels.install(python, tmp_path, f"quanma[upload] @ {wheel.as_uri()}")
    (tmp_path / "codes.csv").write_text("code\nA1\nB2\n")
    uploaded = run("-m", "quanma", "upload", "codes.csv", "--stock", stock_id)
    assert uploaded.returncode == 0, uploaded.stderr
    assert "stored 2 " in uploaded.stdout


def test_a_template_of_settings_needs_no_extra_and_a_world_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide(monkeypatch, *(module for modules in EXTRAS.values() for module in modules))
    assert CliRunner().invoke(main.group, ["init", "--live", str(tmp_path / "shop")]).exit_code == 0
    with pytest.raises(
        ExtraMissing, match=r'^quanma init needs more than the base install: pip install "quanma\[platform'
    ):
        CliRunner().invoke(main.group, ["init", str(tmp_path / "world")], catch_exceptions=False, standalone_mode=False)
