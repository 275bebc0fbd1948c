"""The image and the compose file are read, and the steps of the image done in a plain folder: without containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from quanma.cli.init import init
from quanma.cli.platform import serve
from quanma.serving import supervisor
from tests.deploy.commands import parsed
from tests.support.postgres import account, free_port, give, memory_folder, run_as
from tools import dist

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


pytestmark = pytest.mark.xdist_group("image")  # It is made once.


class Step(NamedTuple):
    name: str
    words: str


def steps() -> list[Step]:
    """The Dockerfile's instructions, each on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Step(*line.split(" ", 1)) for line in lines if line]


def listed(name: str) -> list[str]:
    """The words of an instruction that is written as a list, or ends in one."""
    (words,) = [step.words for step in steps() if step.name == name]
    found: list[str] = json.loads(words[words.index("[") :])
    return found


def copied() -> list[str]:
    lines = [step.words.split()[:-1] for step in steps() if step.name == "COPY" and "--from" not in step.words]
    return [name for line in lines for name in line]


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return document


def example() -> tuple[set[str], set[str]]:
    """The variables that compose.env sets, and those that it offers."""
    text = (DEPLOY / "compose.env").read_text("utf-8")
    return {*re.findall(r"^(\w+)=", text, re.MULTILINE)}, {*re.findall(r"^#(\w+)=", text, re.MULTILINE)}


def test_the_image_copies_what_is_there_and_nothing_else_is_sent_to_whoever_builds() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {*copied()}
    assert all((ROOT / name).exists() for name in copied())


def test_where_images_and_packages_come_from_is_an_argument() -> None:
    arguments = [step.words for step in steps() if step.name == "ARG"]
    assert "BASE_IMAGE=python:3.13-slim" in arguments
    assert "PIP_INDEX_URL=https://pypi.org/simple" in arguments
    assert [step.words.split()[0] for step in steps() if step.name == "FROM"] == ["${BASE_IMAGE}"] * 2
    given = compose()["services"]["platform"]["build"]["args"]
    assert given == {
        "BASE_IMAGE": "${BASE_IMAGE:-python:3.13-slim}",
        "PIP_INDEX_URL": "${PIP_INDEX_URL:-https://pypi.org/simple}",
    }


def test_the_image_runs_a_command_that_exists_as_nobody_else_and_looks_at_its_health() -> None:
    assert listed("ENTRYPOINT") == ["quanma"]
    name, *words = listed("CMD")
    assert name == "serve"
    assert parsed(serve, words)["config_path"] == Path("/world/platform.toml")
    assert parsed(init, ["/world"])["folder"] == Path("/world")
    named = {step.name: step.words for step in steps()}
    assert named["USER"].isdigit()
    assert f"--uid {named['USER']} " in named["RUN"]
    assert (named["EXPOSE"], parsed(serve, words)["port"]) == ("8460", 8460)
    compile(listed("HEALTHCHECK")[-1], "healthcheck", "exec")


def test_compose_starts_the_image_once_the_database_answers() -> None:
    platform = compose()["services"]["platform"]
    assert platform["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "healthcheck" in compose()["services"]["postgres"]
    assert (DEPLOY / platform["build"]["context"] / platform["build"]["dockerfile"]).exists()
    assert int(platform["stop_grace_period"].removesuffix("s")) > supervisor.END_SECONDS
    assert platform["read_only"] is True
    assert platform["tmpfs"] == ["/tmp"]
    volumes = {volume.partition(":")[0] for one in compose()["services"].values() for volume in one["volumes"]}
    assert volumes == compose()["volumes"].keys()


def test_what_compose_reads_is_in_the_example_and_what_must_be_set_is_set_there() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    sets, offers = example()
    assert {*re.findall(r"\$\{(\w+)", text)} == sets | offers
    assert {*re.findall(r"\$\{(\w+):\?", text)} <= sets


def test_what_the_platform_is_given_is_what_it_reads() -> None:
    given = compose()["services"]["platform"]["environment"].keys()
    assert given == {str(option.envvar) for option in serve.params if option.envvar} | {"PGPASSWORD"}


class Image(NamedTuple):
    """What the Dockerfile makes, in a folder."""

    folder: Path
    environment: dict[str, str]
    user: dict[str, Any]

    def here(self, text: str, port: int = 8460) -> str:
        for path in ("/opt/quanma", "/build", "/world"):
            text = re.sub(rf"(?<![\w.]){path}\b", f"{self.folder}{path}", text)
        return text.replace("8460", str(port))

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env={**self.environment, **more},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self.user,
        )


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    runner = account()
    memory = memory_folder()
    with tempfile.TemporaryDirectory(dir=memory if memory.exists() else None) as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("bin", "build", "opt", "world"):
            (folder / part).mkdir()
        give(folder / "world", runner)
        (folder / "bin/python").symlink_to(python_of(run_as(runner)))
        for part in copied():
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / "build" / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, folder / "build")
        made = Image(folder, {"PATH": f"{folder}/opt/quanma/bin:/usr/bin:/bin"}, run_as(runner))
        *building, making_the_user = [step.words for step in steps() if step.name == "RUN"]
        assert making_the_user.startswith("useradd ")
        for words in building:
            done = subprocess.run(
                # What is downloaded already, and needs no compiling to be tried, is not waited for again.
                ["sh", "-euc", made.here(words).replace("--no-cache-dir ", "")],
                cwd=folder / "build",
                env={**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PIP_NO_COMPILE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            if "connection" in done.stderr and "requirements.lock" in words:
                pytest.skip("no package index can be reached")
            assert done.returncode == 0, done.stderr
        yield made


def python_of(user: dict[str, Any]) -> str:
    """A Python that this user may run: root's own may lie where nobody else can look."""
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        for folder in os.environ["PATH"].split(":"):
            path = Path(folder, name).resolve()
            try:
                asked = ["-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"]
                if subprocess.run([path, *asked], capture_output=True, check=False, **user).returncode == 0:
                    return str(path)
            except OSError:
                continue
    pytest.skip("no Python that another user than root may run")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_steps_of_the_image_make_a_platform_that_serves_and_knows_its_health(image: Image) -> None:
    entry, port = image.folder / "opt/quanma/bin" / listed("ENTRYPOINT")[0], free_port()
    health = [image.here(word, port) for word in listed("HEALTHCHECK")]
    made = image.run(str(entry), "init", image.here("/world"))
    assert made.returncode == 0, made.stderr
    assert image.run(*health).returncode == 1
    command = [str(entry), *(image.here(word, port).replace("0.0.0.0", "127.0.0.1") for word in listed("CMD"))]
    environment = {**image.environment, "QUANMA_WORKERS": "", "QUANMA_DATABASE": ""}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **image.user) as serving:
        try:
            assert serving.stderr is not None
            assert any("listening on" in line for line in serving.stderr)
            well = image.run(*health, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
            assert (well.returncode, well.stderr) == (0, "")
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(20) == 0
        finally:
            serving.kill()
    assert image.run(*health).returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["docs/en/operations.md", "docs/zh/operations.md"])
def test_what_the_page_says_to_install_without_a_release_is_what_the_image_has(
    image: Image, page: str, tmp_path: Path
) -> None:
    lines = re.findall(r"^/opt/quanma/bin/(pip install .+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    packages, ours = lines
    (of_image,) = [step.words for step in steps() if step.name == "RUN" and "requirements.lock" in step.words]
    assert packages in of_image.replace("--no-cache-dir ", "")
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: what belongs to a wheel is what git knows")
    _, wheel = dist.build(tmp_path / "dist")
    python = image.folder / "opt/quanma/bin/python"
    command = f"{python} -m {ours} --force-reinstall --no-index --quiet"
    done = subprocess.run(["sh", "-euc", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = image.run(str(python), "-c", "import quanma; print(quanma.__file__)")
    assert told.stdout.startswith(str(image.folder))
    assert wheel.exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_image_has_what_postgresql_needs(image: Image) -> None:
    done = image.run(str(image.folder / "opt/quanma/bin/python"), "-c", "import asyncpg, uvloop, httptools")
    assert done.returncode == 0, done.stderr
