"""Pages agree with each other, with the files that they show, and with what the program has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import click
import msgspec

from quanma import errors
from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from quanma.cli.catalogue import catalogue
from quanma.cli.commands import COMMANDS
from quanma.cli.main import group
from quanma.platform.config import PlatformConfig
from tests.cli.test_languages import chinese
from tests.support.every import every, every_row
from tests.support.pages import FENCE, PAGES, ROOT, TRANSLATED, blocks_of, text_of, without_code


@every(TRANSLATED)
def test_both_languages_are_in_step(chinese: str) -> None:
    english = TRANSLATED[chinese]

    def shape(page: str) -> list[str]:
        return re.findall(r"^#+(?= )|^!\[|^\||^- |^[0-9]\. ", without_code(text_of(page)), re.MULTILINE)

    def code(page: str) -> list[str]:
        # But for comments, drawings in text, and what is printed: that is in the page's language.
        fences = [text for language, text in FENCE.findall(text_of(page)) if language not in ("text", "console")]
        run = (block.text for block in blocks_of(page) if block.mark != "output")
        return [re.sub(r" *# .*", "", text) for text in (*fences, *run)]

    def marks(page: str) -> list[tuple[str, str, str]]:
        # What is waited for is printed, too.
        how = [re.sub(r"(?<=s after )[^,]+", "", block.how) for block in blocks_of(page)]
        return [(block.mark, said, block.language) for block, said in zip(blocks_of(page), how, strict=True)]

    assert code(english) == code(chinese)
    assert marks(english) == marks(chinese)
    assert shape(english) == shape(chinese)


@every(TRANSLATED)
def test_both_languages_print_the_same_numbers_line_by_line(chinese: str) -> None:
    def printed(page: str) -> list[list[list[str]]]:
        blocks = [block.text.splitlines() for block in blocks_of(page) if block.mark == "output"]
        return [[sorted(re.findall(r"[0-9]+(?:[,.][0-9]+)*|…", line)) for line in lines] for lines in blocks]

    assert printed(chinese) == printed(TRANSLATED[chinese])


@every(TRANSLATED)
def test_a_chinese_page_shows_what_the_program_says_in_chinese(chinese: str) -> None:
    assert list(_untranslated(chinese)) == []


def test_what_is_shown_in_english_though_it_has_a_translation_is_found() -> None:
    """On the pages in English, that is."""
    found = dict(_untranslated("README.en.md"))
    assert found["  next: the same command with --resume"] == "  下一步：同一条命令加 --resume"
    assert found["stopped…"] == "已停止：7"
    assert found["stock …: … of 5,002 rows accounted for"] == "批次 7：5,002 行中 7 行已有下落"
    assert "RUNNING CouponCodeCount(total_count=5001, available_count=5001)" not in found


@every(["README.md", "docs/zh/upload.md", "docs/zh/backup.md"])
def test_a_chinese_page_on_commands_quotes_them_in_chinese(page: str) -> None:
    """Others quote exceptions, logs and JSON, too, which are English for everyone."""
    assert list(_quoted_in_english(page)) == []


def test_a_quotation_in_english_is_found() -> None:
    found = list(_quoted_in_english("docs/en/upload.md"))
    assert "the platform did not come back" in found
    assert "… is being run by another process" in found
    assert "3 missing, 1 accounted for" in list(_quoted_in_english("docs/en/backup.md"))


def _quoted_in_english(page: str) -> Iterator[str]:
    """Each part of a text of the program that a page quotes, though a command says it in Chinese."""
    texts = [re.sub(r"\{[^{}]+\}", "7", text) for text in chinese()]
    for quoted in re.findall(r"`([^`\n]+)`", without_code(text_of(page))):
        part = re.sub("[0-9]+", "7", quoted.strip("… "))
        words = [word for word in part.split() if re.fullmatch("[a-z']{2,}[,:;]?", word)]
        sentence = len(words) >= 3 and not re.search("^quanma| -", part)
        if sentence and (catalogue("zh").said(part) != part or any(part in text for text in texts)):
            yield quoted


def _untranslated(page: str) -> Iterator[tuple[str, str]]:
    """Each line that a page shows of a command's output and that has a translation, with that.

    What a program of the reader's prints, and what the platform answers to curl, is the same in both languages.
    """
    before = ""
    for block in blocks_of(page):
        if block.mark == "run":
            before = block.text if block.language == "bash" else ""
        elif block.mark == "output" and re.search(r"^quanma (?!request|api)", before, re.MULTILINE):
            for line in block.text.splitlines():
                # What differs each time may be a number, or the whole of what follows.
                for filling in ("7", ": 7"):
                    english = line.replace("…", filling)
                    if (said := catalogue("zh").said(english)) != english:
                        yield line, said
                        break


@every([page for pair in TRANSLATED.items() for page in pair if not page.endswith("operations.md")])
def test_what_a_reader_may_copy_is_run_or_says_why_not(page: str) -> None:
    marks = "run|install|file: |not run: "
    for mark, code in re.findall(r"^([^\n]*)\n```(?:bash|python)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
        assert re.match(rf"<!-- (?:{marks}).*-->$", mark), f"{page}: nothing runs\n{code}"


@every([page for pair in TRANSLATED.items() for page in pair])
def test_nothing_is_done_that_a_reader_does_not_see(page: str) -> None:
    assert re.findall(r"^<!-- (?!wait$)[a-z]+$", text_of(page), re.MULTILINE) == []


def test_pages_can_be_followed_in_one_folder() -> None:
    made = [found for page in TRANSLATED for found in re.findall(r"^quanma init ([a-z]+)", text_of(page), re.MULTILINE)]
    assert sorted(made) == sorted(set(made))


@every(["docs/zh/platform.md", "docs/en/platform.md"])
def test_the_settings_that_the_page_shows_are_read(page: str) -> None:
    shown = next(text for language, text in FENCE.findall(text_of(page)) if language == "toml")
    settings = msgspec.toml.decode(shown.encode(), type=PlatformConfig, strict=True)
    assert settings.requests_per_second == 20
    assert len(settings.refused_networks()) == 1


def test_each_page_is_there_in_both_languages() -> None:
    assert sorted(path.name for path in (ROOT / "docs/zh").iterdir()) == sorted(
        path.name for path in (ROOT / "docs/en").iterdir()
    )


@every(TRANSLATED.items())
def test_a_page_names_the_one_in_the_other_language(pair: tuple[str, str]) -> None:
    for page, other in (pair, pair[::-1]):
        linked = re.findall(r"\]\(([^)#]+\.md)\)", text_of(page).partition("\n## ")[0])
        assert (ROOT / other).resolve() in {(ROOT / page).parent.joinpath(target).resolve() for target in linked}


@every(["README.md", "README.en.md"])
def test_the_first_page_leads_to_every_other(page: str) -> None:
    linked = {(ROOT / page).parent.joinpath(found).resolve() for found in re.findall(r"\]\(([^)#]+)\)", text_of(page))}
    folder = "docs/zh" if page == "README.md" else "docs/en"
    assert {path.resolve() for path in (ROOT / folder).iterdir()} <= linked


@every(["README.md", "README.en.md"])
def test_what_the_first_page_claims_is_what_the_project_says(page: str) -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    claims = text_of(page).split("\n\n")[2]
    versions = re.findall(r"3\.[0-9]+", claims)
    assert [f"Programming Language :: Python :: {version}" in project["project"]["classifiers"] for version in versions]
    assert f">={versions[0]}" == project["project"]["requires-python"]
    assert project["project"]["license"] in claims
    assert project["tool"]["mypy"]["strict"]
    assert project["tool"]["pyright"]["typeCheckingMode"] == "strict"


@every([page for page in TRANSLATED if not page.endswith("operations.md")])
def test_a_chinese_page_says_where_a_link_leads_to_english(page: str) -> None:
    for target, after in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)(?=(.{0,80}))", without_code(text_of(page))):
        if not re.search(r"[一-鿿]", (ROOT / page).parent.joinpath(target).read_text("utf-8")[:400]):
            assert "英文" in after or "README.en" in target or "/en/" in target, f"{page} links to {target}"


@every([page for pair in TRANSLATED.items() for page in pair if not page.endswith("operations.md")])
def test_a_long_page_lists_its_headings_on_top(page: str) -> None:
    top, *rest = re.split(r"^## (.+)$", without_code(text_of(page)), flags=re.MULTILINE)
    headings = [one for one in rest[::2] if one.strip("# ")]
    if len(headings) > 8:
        listed = re.findall(r"\[([^\]]+)\]\(#", top)
        assert listed == headings


@every(PAGES)
def test_a_command_can_be_pasted_into_zsh(page: str) -> None:
    """Which takes no comments where a person types: `make demo  # the story` asks make for `#`, `the` and `story`."""
    shell = "\n".join(code for language, code in FENCE.findall(text_of(page)) if language == "bash")
    assert re.findall(r"^.*(?:^|\s)#.*$", shell, re.MULTILINE) == []


@every([page for pair in TRANSLATED.items() for page in pair])
def test_a_reader_is_told_what_a_file_is_called(page: str) -> None:
    above = re.findall(r"^(.+)\n\n<!-- (?:run: save as|file:) (\S+) -->$", text_of(page), re.MULTILINE)
    assert [name for told, name in above if name not in told] == []


@every([page for pair in TRANSLATED.items() for page in pair])
def test_a_reader_is_told_where_another_terminal_is_needed(page: str) -> None:
    for above in re.findall(r"^(.+)\n\n<!-- run: terminal", text_of(page), re.MULTILINE):
        assert re.search("终端|terminal|^一个|^In the other", above), f"{page}: {above}"


@every(PAGES)
def test_a_file_that_is_shown_is_as_it_is(page: str) -> None:
    for name, shown in re.findall(
        r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL
    ):
        assert shown == (ROOT / name).read_text("utf-8"), name


@every(PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", without_code(text_of(page))):
        if not re.match(r"https?:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@every(PAGES)
def test_anchors_lead_to_a_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", without_code(text_of(page))):
        if not re.match(r"https?:", target):
            linked = (ROOT / page).parent.joinpath(target) if target else ROOT / page
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _command(words: list[str]) -> click.Command | None:
    found: click.Command | None = group
    for word in words:
        if not isinstance(found, click.Group):
            break
        found = found.get_command(click.Context(found), word)
    return found


def _told_commands(page: str) -> Iterator[tuple[list[str], str]]:
    """Each `quanma …` that a page tells, in code and in prose: the words of the command, and the rest of the line."""
    text = text_of(page).replace("\\\n", " ")
    fences = "\n".join(fenced for language, fenced in FENCE.findall(text) if language not in ("python", "console"))
    for line in [
        *re.findall(r"(?:^|[ (])(quanma(?:-as-service)? [^\n#]*)", fences, re.MULTILINE),
        *re.findall(r"`(quanma(?:-as-service)? [^`]+)`", text),
    ]:
        words = re.split(r"\s+", re.split(r"[|&;>\"]", line)[0].strip())[1:]
        if words and re.fullmatch(r"[a-z][a-z-]+", words[0]):
            yield words[:2] if words[0] in ("codes", "platform", "stock") else words[:1], line


@every(PAGES)
def test_every_command_that_is_told_exists_with_its_options(page: str) -> None:
    for words, line in _told_commands(page):
        command = _command(words)
        assert command is not None, f"{page} tells of quanma {' '.join(words)}"
        if words[0] == "api":
            continue  # Its options are an operation's fields.
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
        told = set(re.findall(r"(?<=[ \[])--[a-z][a-z-]*", line))
        assert told <= known, f"{page} tells of {told - known} in: {line}"


@every([*TRANSLATED, *TRANSLATED.values()])
def test_every_option_in_prose_is_some_commands(page: str) -> None:
    known = {"--help", "--quanma-url"}  # The last one is pytest's, by our plugin.
    for name in COMMANDS:
        command = _command([name])
        assert command is not None
        below = command.commands.values() if isinstance(command, click.Group) else []
        for one in (command, *below):
            known |= {option for parameter in one.params for option in parameter.opts}
    known |= {f"--{field}" for operation in OPERATIONS for field in operation.request.__struct_fields__}
    assert set(re.findall(r"`(--[a-z][a-z_-]*)", without_code(text_of(page)))) <= known


@every(PAGES)
def test_every_operation_that_is_called_exists(page: str) -> None:
    chains = [f".{chain_of(operation)}" for operation in OPERATIONS]
    for name in re.findall(r"quanma api ([a-z][\w.]+)", text_of(page)):
        found = [chain for chain in chains if chain.endswith((f".{name}", f".{name}.post"))]
        assert len(found) == 1, f"{page} calls quanma api {name}"


@every(PAGES)
def test_every_error_that_is_told_exists(page: str) -> None:
    for row in re.findall(r"^\| ((?:`[A-Z]\w+`[,、 ]*)+)\|", text_of(page), re.MULTILINE):
        for name in re.findall(r"`([A-Z][a-z]\w+)`", row):
            if re.fullmatch(r"Quanma(?!Error)\w+", name):
                continue  # An alert: see tests/deploy/test_prometheus.py.
            assert issubclass(getattr(errors, name), errors.QuanmaError), f"{page} tells of {name}"


@every_row("page", ["docs/zh/platform.md", "docs/en/platform.md"])
def test_the_platforms_page_lists_every_operation(page: str) -> None:
    listed = re.findall(r"^\| `([A-Z]+) (/\S+)` \|", text_of(page), re.MULTILINE)
    assert sorted(listed) == sorted((operation.verb, operation.path) for operation in OPERATIONS)


@every_row("page", ["docs/zh/platform.md", "docs/en/platform.md"])
def test_the_platforms_page_explains_every_setting(page: str) -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", text_of(page), re.MULTILINE)
    told = {name.strip("[]") for row in rows for name in row.split("`")}
    assert set(PlatformConfig.__struct_fields__) <= told


def test_the_layout_names_every_module() -> None:
    named = set(re.findall(r"\b\w+\.py\b", text_of("docs/layout.md")))
    modules = {path.name for path in (ROOT / "src/quanma").rglob("*.py")}
    assert modules - named - {"__main__.py"} == set()
    assert named - modules - {"test_floors.py", "_quanma_pytest.py"} == set()
