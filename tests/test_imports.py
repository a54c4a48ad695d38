"""What may import what: packages are layers, imports point down, and what is heavy or foreign has one importer.

Read from the sources, so that an import inside a function counts as well.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = "tokex_gguf"
ROOT = Path(__file__).parent.parent / PACKAGE

LAYERS = ("values", "system", "config", "models.gguf", "models", "engine", "play", "sessions", "shell", "ui", "cli")
"""From the lowest. A module may import its own package and those before it in this row."""

PLAY = {
    "session": {"sessions", "shell", "ui", "cli"},
    "game": {"sessions", "shell", "ui", "cli"},
    "table": {"ui", "cli.report"},
    "screens": {"sessions.codec", "ui"},
    "actions": {"ui.app", "cli.answers"},
    "messages": {"shell.runtime", "shell.background", "shell.saving", "shell.editor", "ui.app", "ui.screen"},
    "update": {"shell.runtime"},
    "commands.registry": {"ui.app", "ui.screen", "ui.help", "ui.lists"},
    "command": {"ui.help"},
    "compared": {"ui.second", "ui.second_line", "ui.table", "ui.versus"},
    "purposes": {"ui.app", "ui.lists", "ui.second", "ui.status"},
    "versus": {"sessions.codec", "shell.resuming", "ui.prompt_pane", "ui.second"},
    "fan": {"ui.fan_out", "cli.answers"},
    "critical": {"ui.critical"},
    "rules.chain": {"ui.chain", "ui.screen_table"},
    "rules.critical": {"ui.critical"},
    "rules.fan_out": {"ui.fan_out"},
    "rules.insertion": {"ui.screen_table"},
    "rules.list_search": {"ui.chain", "ui.lists", "ui.screen_table"},
    "rules.model_switch": {"shell.resuming"},
    "rules.second_model": {"shell.resuming"},
    "rules.selection": {"ui.lists"},
    "rules.text_entry": {"ui.screen_table"},
    "rules.tree": {"ui.screen_table", "ui.tree"},
    "rules.versus": {"ui.versus"},
}
"""What of `play/` others import, and who does: `update` changes the session, and all the rest only reads it."""

ENTRANCES = {
    "play": {"play"},
    **{f"play.{name}": {"play", *importers} for name, importers in PLAY.items()},
    # The worker is another process: only that process's main module imports it.
    "engine.worker": {"engine.worker", "engine.__main__"},
    "engine.remote": {"engine.remote"},
}
"""Packages and modules that are not for everybody, and who may import them. The longest name that fits counts."""

SHARED = (
    *("values", "system", "engine.protocol", "engine.path_delta", "engine.inbox", "engine.queue", "engine.pipes"),
    *("engine.confinement", "engine.capacity", "engine.spelling", "engine.query"),
)
"""What the engines' processes have in common, with each other and partly with this one."""
WORKER_MAY_IMPORT = (
    *SHARED,
    "engine.worker",
    "engine.kv_file",
    "engine.kv_folder",
    "models.reference",
    "models.gguf",
    "models.memory",
)
REMOTE_MAY_IMPORT = (*SHARED, "engine.remote")

IMPORTERS = {
    "llama_cpp": {"engine.worker.llama"},
    "huggingface_hub": {"models.hub"},
    "platformdirs": {"system.folders"},
    "jinja2": {"engine.worker.chat_template"},
    "llguidance": {"engine.worker.constraints"},
    "http": {"engine.remote.http"},
    "socket": {"engine.remote.http", "engine.worker.rpc"},
    "ssl": {"engine.remote.http"},
    "prompt_toolkit.application": {"ui.app"},
    "subprocess": {"engine.process", "engine.worker.confined_chat", "shell.editor", "system.machine"},
}
"""Modules of other packages, and the only ones here that import them."""

PURE = (
    *("values", "play", "models.memory", "models.reference", "cli.chat_input"),
    *("sessions.codec", "sessions.columns", "sessions.summary"),
    *("engine.protocol", "engine.path_delta", "engine.queue", "engine.query", "engine.spelling", "engine.capacity"),
    *("engine.worker.kv_plan", "engine.worker.threads", "engine.worker.logit_math", "engine.worker.branch_worth"),
    *("engine.worker.gbnf", "engine.worker.vocabulary_tree", "engine.worker.ambiguity", "engine.worker.endings"),
    *("engine.worker.constraint_faults", "engine.worker.differing"),
    *("engine.remote.dialects", "engine.remote.bounds", "engine.remote.memory", "engine.remote.vocabulary"),
    *(
        "ui.screen",
        "ui.screen_table",
        "ui.status",
        "ui.second_line",
        "ui.prompt_pane",
        "ui.table",
        "ui.help",
        "ui.lists",
    ),
    *("ui.chain", "ui.constraint", "ui.sessions", "ui.tree"),
    *("ui.second", "ui.versus", "ui.fan_out", "ui.critical", "ui.lens_lines", "ui.paint"),
    *("ui.wrap", "ui.cells", "ui.theme", "ui.window", "ui.terminal_input.parser", "ui.terminal_input.key_codes"),
)
"""What reads no clock, file, process or thread, nor imports what does; so its tests need none."""
OUTSIDE = {"os", "io", "time", "datetime", "random", "threading", "queue", "asyncio", "logging", "signal", "socket"}
OUTSIDE |= {"http", "ssl", "subprocess", "shutil", "tempfile", "ctypes", "platformdirs", "huggingface_hub", "llama_cpp"}


def name_of(path: Path) -> str:
    """A file's module, by its name below the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(source: str) -> set[str]:
    """Every module that a source imports, anywhere, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute here"
            # What is imported may be a module itself: from tokex_gguf import config.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@cache
def imports(module: str) -> set[str]:
    """The same of a module of the package."""
    return imports_of(FILES[module].read_text(encoding="utf-8"))


@cache
def has_code(module: str) -> bool:
    """Whether there is such a module, with more than a docstring: an empty package is nothing to depend on."""
    return module in FILES and len(ast.parse(FILES[module].read_text(encoding="utf-8")).body) > 1


def own(module: str) -> set[str]:
    """The package's own modules that a module imports."""
    names = {name.removeprefix(f"{PACKAGE}.") for name in imports(module) if name.startswith(f"{PACKAGE}.")}
    return {name for name in names if has_code(name)} - {module}


def foreign(module: str) -> set[str]:
    """Everything else that a module imports, by its full name."""
    return {name for name in imports(module) if name.split(".")[0] != PACKAGE}


def within(module: str, *packages: str) -> bool:
    """Whether a module is one of these, or inside one of these packages."""
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def layer(module: str) -> int:
    """A module's layer, from 0; the packages' own first modules stand above all."""
    found = [index for index, name in enumerate(LAYERS) if within(module, name)]
    return max(found, key=lambda index: len(LAYERS[index]), default=99)


def test_every_module_is_in_a_layer() -> None:
    assert {module for module in FILES if layer(module) == 99} == {"", "__main__"}


def test_reading_finds_imports_wherever_they_are() -> None:
    source = "import a.b, c as d\ndef f():\n    if f:\n        from e import g\n"
    assert imports_of(source) == {"a.b", "c", "e", "e.g"}
    assert {"config", "shell.runtime", "play.session", "cli.report", "ui.app"} <= own("cli.main")


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module: str) -> None:
    assert {other for other in own(module) if layer(other) > layer(module)} == set()


def may_enter(module: str, other: str) -> bool:
    """Whether a module may import another one, by `ENTRANCES`."""
    entrances = [name for name in ENTRANCES if within(other, name)]
    return not entrances or within(module, *ENTRANCES[max(entrances, key=len)])


@pytest.mark.parametrize("module", FILES)
def test_a_package_is_entered_by_its_entrances(module: str) -> None:
    assert {other for other in own(module) if not may_enter(module, other)} == set()


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("ui.app", "play.replies"),
        ("cli.main", "play.requests"),
        ("sessions.codec", "play.pairing"),
        ("ui.app", "play.update"),
        ("shell.runtime", "play.rules.prompt"),
        ("cli.main", "engine.worker.server"),
    ],
)
def test_what_is_no_entrance_is_refused(module: str, other: str) -> None:
    assert module in FILES and other in FILES and not may_enter(module, other)


@pytest.mark.parametrize("entrance", [f"play.{name}" for name in PLAY])
def test_every_entrance_is_used(entrance: str) -> None:
    """What nobody needs any more is taken out of the table."""
    users = {module for module in FILES if any(within(other, entrance) for other in own(module))}
    importers = ENTRANCES[entrance] - {"play"}
    assert {importer for importer in importers if not any(within(user, importer) for user in users)} == set()


@pytest.mark.parametrize(
    "names",
    [
        *(LAYERS, PURE, SHARED, WORKER_MAY_IMPORT, REMOTE_MAY_IMPORT),
        {*ENTRANCES, *chain.from_iterable(ENTRANCES.values()), *chain.from_iterable(IMPORTERS.values())},
    ],
)
def test_every_name_is_that_of_a_module(names: Iterable[str]) -> None:
    assert {name for name in names if name not in FILES} == set()


def test_declarations_of_commands_are_read_through_their_registry() -> None:
    outside = [module for module in FILES if not within(module, "play.commands")]
    read = {other for module in outside for other in own(module) if within(other, "play.commands")}
    assert read == {"play.commands.registry"}


@pytest.mark.parametrize(
    ("package", "known"), [("engine.worker", WORKER_MAY_IMPORT), ("engine.remote", REMOTE_MAY_IMPORT)]
)
def test_an_engine_knows_only_what_the_processes_share(package: str, known: tuple[str, ...]) -> None:
    for module in FILES:
        if within(module, package):
            assert {other for other in own(module) if not within(other, *known)} == set(), module


def test_no_module_imports_itself_by_way_of_others() -> None:
    left = {module: own(module) for module in FILES}
    while left:
        free = {module for module, needed in left.items() if not needed & set(left)}
        assert free, f"a cycle among {sorted(left)}"
        left = {module: needed for module, needed in left.items() if module not in free}


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_library_has_one_importer(library: str) -> None:
    assert {module for module in FILES if any(within(name, library) for name in foreign(module))} == IMPORTERS[library]


def test_numbers_stay_in_the_worker_and_the_terminal_in_the_ui() -> None:
    def importers(library: str) -> set[str]:
        return {module for module in FILES if any(within(name, library) for name in foreign(module))}

    assert importers("numpy") and {m for m in importers("numpy") if not within(m, "engine.worker")} == set()
    assert {m for m in importers("prompt_toolkit") if not within(m, "ui", "cli")} == set()


def closure(module: str) -> set[str]:
    """A module and all that it imports, directly or not."""
    seen, waiting = set[str](), [module]
    while waiting:
        if (each := waiting.pop()) not in seen:
            seen.add(each)
            waiting += own(each)
    return seen


def test_the_engine_over_a_server_needs_no_llama_cpp_and_no_numpy() -> None:
    remote = {module for module in FILES if within(module, "engine.remote")}
    found = {(each, name) for module in remote for each in closure(module) for name in foreign(each)}
    assert {pair for pair in found if within(pair[1], "numpy", "llama_cpp", "llguidance")} == set()
    assert ("engine.remote.http", "socket") in found


@pytest.mark.parametrize("module", [module for module in FILES if within(module, *PURE)])
def test_what_is_pure_is_so_with_all_that_it_imports(module: str) -> None:
    found = {(each, name) for each in closure(module) for name in foreign(each) if name.split(".")[0] in OUTSIDE}
    assert found == set()


def test_no_record_has_all() -> None:
    """What belongs together is a record of its own."""
    classes = [
        (f"{path.relative_to(ROOT)}: {node.name}", sum(isinstance(one, ast.AnnAssign) for one in node.body))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert max(count for _, count in classes) > 20, "fields are counted"
    assert [name for name, count in classes if count > 27] == []


TWINS = {
    **dict.fromkeys(("Chunk", "Evaluator", "Server", "Vocabulary"), frozenset(("engine.worker", "engine.remote"))),
    "Interrupted": {"engine.worker.llama", "engine.remote.http"},
    "Keyboard": {"ui.terminal_input.posix", "ui.terminal_input.windows"},
}
"""What is the same to others, in places of which each is the other's counterpart."""


def test_the_name_of_a_class_means_one_thing() -> None:
    """Also those of types, public or not."""
    places: dict[str, list[str]] = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.ClassDef(name=name) | ast.AnnAssign(ast.Name(name), ast.Name("TypeAlias")):
                    places.setdefault(name, []).append(module)
    assert len(places) > 400, "classes are found"
    again = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert set(again) == set(TWINS)
    for name, modules in again.items():
        assert [sum(within(module, twin) for module in modules) for twin in TWINS[name]] == [1, 1], name


def test_only_declared_packages() -> None:
    declared = {"llama_cpp", "prompt_toolkit", "numpy", "huggingface_hub", "platformdirs", "jinja2", "llguidance"}
    used = {name.split(".")[0] for module in FILES for name in foreign(module)}
    assert used - set(sys.stdlib_module_names) == declared


PURE_TESTS = ("tests/values", "tests/play", "tests/sessions", "tests/shell")
QUICK_TESTS = (
    *("tests/values/test_path_text.py", "tests/values/test_workers.py", "tests/values/test_text_comparison.py"),
    *("tests/play/test_find.py", "tests/play/test_waits.py", "tests/play/test_downloads.py"),
)
"""Of these, some that take a few seconds together."""


ABSENT = """
import sys
class Absent:
    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] in ("llama_cpp", "numpy"):
            raise ModuleNotFoundError(f"{name} is not there", name=name)
sys.meta_path.insert(0, Absent)
"""
"""What takes both from a process. None in their place in `sys.modules` is looked at by hypothesis."""


def alone(program: str, *arguments: str) -> str:
    """What a program says, with its errors, that ends well without llama_cpp and numpy."""
    command = [sys.executable, "-c", ABSENT + program, *arguments]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


@pytest.mark.thorough
def test_pure_tests_need_no_llama_cpp_and_no_numpy() -> None:
    """They are imported, with all that they need, where there is none; and some of them run."""
    paths = [path for folder in PURE_TESTS for path in sorted((ROOT.parent / folder).glob("test_*.py"))]
    names = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in paths]
    assert len(names) > 40
    alone("import importlib; list(map(importlib.import_module, sys.argv[1:]))", "tests.conftest", *names)
    program = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    told = alone(program, "-q", "-n", "0", "-p", "no:cacheprovider", *QUICK_TESTS)
    assert " passed" in told


def test_pure_tests_start_no_program() -> None:
    """Those that do are in tests/program/."""
    paths = [path for folder in PURE_TESTS for path in (ROOT.parent / folder).glob("*.py")]
    starting = [path.name for path in paths if "tests.terminal" in imports_of(path.read_text(encoding="utf-8"))]
    assert starting == []
