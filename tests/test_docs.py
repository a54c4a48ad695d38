"""The documentation agrees with the program: links, commands, tables and file names."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tokex_gguf import COMMANDS
from tokex_gguf.cli import commands, main
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.cli.tables import parser_of
from tokex_gguf.models.catalogue import CatalogueEntry
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.models.gguf import metadata
from tokex_gguf.system import console
from tokex_gguf.values.view import Standing

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tokex_gguf"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"`([a-z][a-z0-9_]*)`")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(page: Path, before: str) -> list[str]:
    """The first cells of the first table after some text."""
    table = page.read_text(encoding="utf-8").split(before, 1)[1].split("|---", 1)[1]
    lines = table.split("\n\n", 1)[0].splitlines()[1:]
    return [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page))):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(linked), f"{name(page)}: {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", prose(page)):
            linked = (page.parent / target).resolve()
            if linked not in reached and linked not in left:
                left.append(linked)
    assert not [name(page) for page in PAGES if page not in reached]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_generated_parts_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- commands


def told_commands(page: Path) -> Iterator[str]:
    """The shell commands of a page: lines of code blocks, and code in the text."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]:
        for command in re.split(r"&&|\||;|>", line):
            if words := re.match(r"\s*(?:uv run (?:--no-sync )?)?(\S.*)", command):
                yield words[1].strip()


def parse(arguments: Sequence[str]) -> None:
    """Parses arguments as the program does, and runs nothing. Raises Exit where they are refused."""
    command = arguments[0] if arguments else ""
    if command in COMMANDS:
        parser_of(command).parse_args(arguments[1:])
    else:
        make_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_accepted(page: Path) -> None:
    tasks = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["poe"]["tasks"]
    synopsis = re.compile(r"[\[\]]|\.\.\.")
    for command in told_commands(page):
        if synopsis.search(command):
            continue
        match command.split():
            case ["tokex-gguf", _, *_]:
                arguments = [re.sub("^N$", "3", word) for word in shlex.split(command)[1:]]
                try:
                    parse(arguments)
                except console.Exit as error:
                    raise AssertionError(f"{name(page)}: {command}: {error}") from None
            case ["poe", task, *_]:
                assert task in tasks, f"{name(page)}: {command}"
            case ["pytest", *words]:
                missing = [word for word in words if word.endswith(".py") and not (ROOT / word).is_file()]
                assert not missing, f"{name(page)}: {command}"
            case ["python", "-m", module, *_]:
                path = ROOT.joinpath(*module.split("."))
                assert path.is_dir() or path.with_suffix(".py").is_file(), f"{name(page)}: {command}"
            case ["python", script, *_] if script.endswith(".py"):
                assert (ROOT / script).is_file(), f"{name(page)}: {command}"


def test_options_in_the_text_exist() -> None:
    """Options that are named alone, as `--chat`, and not as part of a command."""
    known = {option for action in make_parser()._actions for option in action.option_strings}
    for page in [ROOT / "README.md", *(ROOT / "docs" / "guide").glob("*.md"), *(ROOT / "docs/reference").glob("*.md")]:
        for option in re.findall(r"`(--[a-z][a-z-]*)[^`]*`", prose(page)):
            assert option in known, f"{name(page)}: {option}"


# --- JSON


def test_the_json_fields_are_those_of_a_real_object(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    arguments = ["--no-config", "--log", str(tmp_path / "log"), "--model", str(model_path), "--json", "--chat"]
    assert main.main([*arguments, "--prompt", json.dumps(messages)]) == 0
    printed = json.loads(capsys.readouterr().out)
    page = ROOT / "docs" / "reference" / "json.md"
    for before, fields in (
        ("# JSON output", printed),
        ("\n`model`:", printed["model"]),
        ("\nEach object in `tokens`:", printed["tokens"][0]),
        ("\n`next`:", printed["next"]),
        ("\n`assistant`:", printed["assistant"]),
    ):
        assert [field for cell in rows(page, before) for field in FIELD.findall(cell)] == list(fields)
    candidates = re.search(r"`candidates` \|(.*)", page.read_text(encoding="utf-8"))
    assert candidates and FIELD.findall(candidates[1]) == list(printed["next"]["candidates"][0])


def test_the_documented_standings_under_a_constraint_are_all_there_are() -> None:
    told = _row(ROOT / "docs" / "reference" / "json.md", "`standing`")
    assert sorted(FIELD.findall(told)) == sorted(["standing", *Standing])


def test_so_are_those_of_two_models(tiny: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny["qwen2"])
    arguments = ["--no-config", "--log", str(tmp_path / "log"), "--json", "--prompt", "once upon"]
    assert main.main([*arguments, "--model", model]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main.main([*arguments, "--model", model, "--versus", model]) == 0
    both = json.loads(capsys.readouterr().out)
    page = ROOT / "docs" / "reference" / "json.md"
    told = [field for cell in rows(page, "\n## Two models") for field in FIELD.findall(cell)]
    inner = list(both["versus"]["model"])
    assert told == list(both["versus"]) and FIELD.findall(_row(page, "`model` | B:")) == ["model", *inner]
    more = [field for field in both["tokens"][0] if field not in alone["tokens"][0]]
    assert [
        field for cell in rows(page, "\nEach object in `tokens` has three more") for field in FIELD.findall(cell)
    ] == more
    assert [field for field in both["next"] if field not in alone["next"]] == ["kl_bits", "flip"]
    assert [field for field in both if field not in alone] == ["versus"]


def test_so_are_those_of_answers(tiny: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--no-config", "--log", str(tmp_path / "log"), "--json", "--prompt", "once upon"]
    arguments += ["--model", str(tiny["qwen2"])]
    assert main.main(arguments) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main.main([*arguments, "--answers", "2", "--until", "1 token"]) == 0
    told = json.loads(capsys.readouterr().out)
    page = ROOT / "docs" / "reference" / "json.md"
    for before, fields in (
        ("\n## Answers", [field for field in told if field not in alone]),
        ("\nEach object in `answers`:", told["answers"][0]),
        ("\n`coverage`, each from 0 to 1", told["coverage"]),
    ):
        assert [field for cell in rows(page, before) for field in FIELD.findall(cell)] == list(fields)


def test_so_are_those_of_models(tiny: dict[str, Path], tmp_path: Path) -> None:
    sound, broken = ModelOnDisk("a", "b", tiny["qwen2"]), ModelOnDisk("a", "b", tmp_path / "c.gguf")
    told = [
        commands._as_json(CatalogueEntry(sound, 1, metadata.read(sound.path))),
        commands._as_json(CatalogueEntry(broken, 1, "no")),
    ]
    page = ROOT / "docs" / "reference" / "json.md"
    assert [field for cell in rows(page, "\n## Models") for field in FIELD.findall(cell)] == list(told[0] | told[1])


def _row(page: Path, start: str) -> str:
    return next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {start}"))


# --- files and modules


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|toml|txt|svg))(?:::\w+)?`", prose(page)):
        places = [folder / path for folder in (ROOT, PACKAGE, page.parent)]
        assert any(place.is_file() for place in places), f"{name(page)}: {path}"


def test_pages_that_the_code_names_exist() -> None:
    for folder in (PACKAGE, ROOT / "tests", ROOT / "scripts", ROOT / "benchmarks"):
        for source in folder.rglob("*.py"):
            for path in re.findall(r"\bdocs/[\w/-]+\.md\b", source.read_text(encoding="utf-8")):
                assert (ROOT / path).is_file(), f"{name(source)}: {path}"


def test_every_module_has_its_row_in_the_architecture() -> None:
    table = re.findall(r"^\|.*\|$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    for source in sorted(PACKAGE.rglob("*.py")):
        path = source.relative_to(PACKAGE)
        if path.name == "__init__.py":
            continue
        folder = "" if path.parent == Path() else f"`{path.parent.as_posix()}/"
        found = any(
            f"`{path.as_posix()}`" in row or (folder and folder in row and f"`{path.name}`" in row) for row in table
        )
        assert found, f"{path} has no row in docs/architecture.md"


REFERENCE = re.compile(r"`((?:[a-z_]+\.)+)([A-Za-z_]\w*)(?:\(\))?`")


def test_what_docstrings_refer_to_is_there() -> None:
    """A name behind one of this program's modules: `module.name`."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tokex_gguf").rglob("*.py"))}
    by_module = {path.with_suffix("").parts: text for path, text in sources.items()}
    checked = 0
    for path, text in sources.items():
        for module, name in REFERENCE.findall(text):
            parts = tuple(module.rstrip(".").split("."))
            meant = [there for parts_of, there in by_module.items() if parts_of[-len(parts) :] == parts]
            if meant and name != "py":
                assert any(re.search(rf"\b{name}\b", there) for there in meant), f"{path}: {module}{name}"
                checked += 1
    assert checked > 10
