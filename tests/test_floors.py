"""The building's floors: imports point down, and few rooms hold what is heavy.

Read from the source, so that an import inside a function counts as well.
"""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = "tokex_gguf"
ROOT = Path(__file__).parent.parent / PACKAGE

RULES = [f"rules.{r}" for r in ("effects", "asking", "playing", "exploring", "composing", "browsing", "program")]
RULES += ["rules.switching", "rules.typed"]
RULES += ["rules.replies", "rules.keys"]

TERMINAL_INPUT = ["ui.terminal_input", *(f"ui.terminal_input.{room}" for room in ("posix", "windows", "parser"))]
TERMINAL_INPUT += ["ui.terminal_input.key_codes", "ui.terminal_input.guard"]

FLOORS = {
    6: ["cli", "commands", "__main__"],
    5: ["ui.app", "report", "doctor", "inputs"],
    4: [
        *("ui.view", "ui.panes", "ui.lists", "ui.layers", "ui.paint", "ui.wrap", "ui.window", "ui.cells", "ui.theme"),
        *TERMINAL_INPUT,
    ],
    3: ["game", "update", "editor", "starters", "prepare", "archive", "autosave", *RULES],
    2: ["session", "keymap", "branches", "ranking", "engine.client", "engine.backend"],
    1: [
        *(
            "tree",
            "names",
            "model_entry",
            "purposes",
            "distribution",
            "tokens",
            "line",
            "history",
            "engine.protocol",
            "engine.wire",
            "engine.process",
            "config",
            "prefix",
            "storage",
            "text_files",
            "home",
            "exits",
        ),
        *(
            "exits",
            "prefix",
            "models",
            "naming",
            "words",
            "places",
            "catalogue",
            "hub",
            "hub_cache",
            "stamps",
            "limits",
            "header",
            "headers",
            "gguf_file",
            "gguf_checks",
            "fit",
            "machine",
            "chat",
            "keep",
            "keeper",
            "locks",
            "summary",
            "signals",
        ),
    ],
    0: ["", "ui", "engine", "rules"],  # the packages themselves: a docstring, no imports
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

IN_THE_ENGINE = (
    "abort",
    "capacity",
    "confined_chat",
    "confinement",
    "deep",
    "server",
    "chat",
    "evaluation",
    "llama",
    "pace",
    "kv",
    "rows",
    "search",
    "fingerprints",
    "spelling",
    "statistics",
    "__main__",
)
ENGINE_PROCESS = {f"engine.{room}" for room in IN_THE_ENGINE}
ENGINE_MAY_IMPORT = ENGINE_PROCESS | {"engine.protocol", "engine.wire", "distribution", "tokens", "prefix", *FLOORS[0]}
ENGINE_MAY_IMPORT |= {"naming", "stamps", "limits", "storage", "header"}


def room_of(path: Path) -> str:
    """A file's room: its module's name below the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {room_of(path): path for path in sorted(ROOT.rglob("*.py"))}
ROOM_OF = {f"{PACKAGE}.{room}".removesuffix("."): room for room in FILES}


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


def rooms(room: str) -> set[str]:
    """The package's own rooms that a room imports."""
    names = imports_of(FILES[room].read_text(encoding="utf-8"))
    return {ROOM_OF[name] for name in names if name in ROOM_OF}


def others(room: str) -> set[str]:
    """Everything else that a room imports, by full name."""
    names = imports_of(FILES[room].read_text(encoding="utf-8"))
    return {name for name in names if name.split(".")[0] != PACKAGE}


def importers(module: str) -> set[str]:
    """The rooms that import a module of another package, or something inside it."""
    return {room for room in FILES if any(f"{name}.".startswith(f"{module}.") for name in others(room))}


def test_every_room_has_a_place() -> None:
    """A new file must be given a floor here, and a removed one taken out."""
    assert set(FILES) == set(FLOOR_OF) | ENGINE_PROCESS


def test_reading_finds_imports_wherever_they_are() -> None:
    source = "import a.b, c as d\ndef f():\n    if f:\n        from e import g\n"
    assert imports_of(source) == {"a.b", "c", "e", "e.g"}
    assert {"config", "models", "game", "session", "report", "ui.app"} <= rooms("cli")


@pytest.mark.parametrize("room", FLOOR_OF)
def test_imports_point_down(room: str) -> None:
    up = {other for other in rooms(room) if FLOOR_OF.get(other, 9) > FLOOR_OF[room]}
    assert not up


@pytest.mark.parametrize("room", sorted(ENGINE_PROCESS))
def test_engine_process_knows_only_what_both_sides_share(room: str) -> None:
    assert rooms(room) <= ENGINE_MAY_IMPORT


@pytest.mark.parametrize("room", FLOOR_OF)
def test_nobody_else_imports_the_engine_process(room: str) -> None:
    assert not rooms(room) & ENGINE_PROCESS


def test_no_circles() -> None:
    """Also on one floor: every room can be read after those it imports."""
    left = {room: rooms(room) - {room} for room in FILES}
    while left:
        free = {room for room, needed in left.items() if not needed & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {room: needed for room, needed in left.items() if room not in free}


@pytest.mark.parametrize(
    ("module", "where"),
    [
        ("llama_cpp", {"engine.llama"}),
        ("huggingface_hub", {"hub"}),
        ("jinja2", {"engine.chat"}),
        ("prompt_toolkit.application", {"ui.app"}),
        ("subprocess", {"engine.process", "engine.confined_chat", "editor", "machine"}),
    ],
)
def test_only_there(module: str, where: set[str]) -> None:
    assert importers(module) == where


def test_numbers_stay_in_the_engine_process() -> None:
    assert {"engine.llama", "engine.statistics"} <= importers("numpy") <= ENGINE_PROCESS


def test_prompt_toolkit_stays_on_the_upper_floors() -> None:
    assert {FLOOR_OF[room] for room in importers("prompt_toolkit")} <= {4, 5, 6}


def test_pure_rooms_touch_nothing_outside() -> None:
    """They read no clock, file, process or thread, so their tests need none."""
    outside = {
        "os",
        "io",
        "pathlib",
        "time",
        "datetime",
        "random",
        "threading",
        "queue",
        "asyncio",
        "logging",
        "signal",
    }
    pure = [
        "tree",
        "branches",
        "line",
        "naming",
        "words",
        "fit",
        "chat",
        "text_files",
        "distribution",
        "tokens",
        "session",
        "update",
        "archive",
        "summary",
        *RULES,
        "ui.layers",
        "ui.wrap",
        "ui.cells",
        "ui.theme",
        "ui.terminal_input.parser",
        "ui.terminal_input.key_codes",
        "engine.kv",
        "engine.pace",
        "engine.statistics",
    ]
    for room in [*pure, "engine.protocol"]:
        assert not {name.split(".")[0] for name in others(room)} & outside, room


def test_only_declared_packages() -> None:
    declared = {"llama_cpp", "prompt_toolkit", "numpy", "huggingface_hub", "platformdirs", "jinja2"}
    used = {name.split(".")[0] for room in FILES for name in others(room)}
    assert used - set(sys.stdlib_module_names) == declared
