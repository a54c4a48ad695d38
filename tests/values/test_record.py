"""Records are frozen dataclasses in all that can be seen of them: each test holds for both."""

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tokex_gguf
from tokex_gguf.values import record as compiled
from tokex_gguf.values.record import record


class Words:
    """What the records are made from, twice."""

    class Empty:
        """No fields."""

    class One:
        """One field."""

        value: Any

    class Entry:
        """Fields, with and without defaults."""

        kind: ClassVar[str] = "entry"
        name: str
        size: int = 0
        parts: list[int] = field(default_factory=list)

        @property
        def twice(self) -> int:
            """A property is kept."""
            return 2 * self.size

    class Named:
        """All by name."""

        first: int
        second: int = 2

    class Same:
        """Equal to itself alone."""

        value: int

    class Open:
        """With room for more."""

        value: int

    class Own:
        """With methods of its own, which are kept."""

        value: int

        def __post_init__(self) -> None:
            if self.value < 0:
                raise ValueError("below 0")

        def __repr__(self) -> str:
            return f"own {self.value}"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and abs(self.value - other.value) < 2

        def __hash__(self) -> int:
            return 1


class Kinds:
    """These classes, made by a decorator."""

    def __init__(self, plain: Callable[..., Any], prefix: str) -> None:
        def made(cls: type, **options: bool) -> Any:
            name = f"{prefix}{cls.__name__}"
            body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
            made = plain(type(name, (), body | {"__qualname__": name, "__module__": __name__}), **options)
            globals()[name] = made  # pickle looks for it there
            return made

        self.empty = made(Words.Empty)
        self.one = made(Words.One)
        self.entry = made(Words.Entry)
        self.named = made(Words.Named, kw_only=True)
        self.same = made(Words.Same, eq=False)
        self.open = made(Words.Open, slots=False)
        self.own = made(Words.Own)

        def under(base: Any) -> Any:
            class Under(base):  # type: ignore[misc]
                """A field more."""

                more: int = 7

            return plain(Under)

        self.under = under(self.entry)


def standard(cls: type, *, slots: bool = True, **options: bool) -> Any:
    return dataclass(frozen=True, slots=slots, **options)(cls)


def ours(cls: type, **options: bool) -> Any:
    return record(**options)(cls) if options else record(cls)


@pytest.fixture(scope="module", params=["standard", "record"])
def kinds(request: pytest.FixtureRequest) -> Kinds:
    return Kinds(standard, "S") if request.param == "standard" else Kinds(ours, "R")


def test_making(kinds: Kinds) -> None:
    entry = kinds.entry("a")
    assert (entry.name, entry.size, entry.parts, entry.kind, entry.twice) == ("a", 0, [], "entry", 0)
    assert kinds.entry("a").parts is not entry.parts
    assert kinds.entry("a", 3, [1]).parts == kinds.entry(parts=[1], size=3, name="a").parts == [1]
    assert kinds.empty() and kinds.named(first=1).second == 2
    assert kinds.under("a", more=1).more == 1 and kinds.under("a", 1, [2], 3).parts == [2]


@pytest.mark.parametrize(
    ("args", "names", "said"),
    [
        ((), {}, r"Entry.__init__\(\) missing 1 required positional argument: 'name'"),
        ((1, 2, 3, 4), {}, r"Entry.__init__\(\) takes from 2 to 4 positional arguments but 5 were given"),
        (("a",), {"other": 1}, r"Entry.__init__\(\) got an unexpected keyword argument 'other'"),
        (("a",), {"name": 1}, r"Entry.__init__\(\) got multiple values for argument 'name'"),
    ],
)
def test_what_is_wrong_is_told(kinds: Kinds, args: tuple[int, ...], names: dict[str, int], said: str) -> None:
    for _ in range(2):  # the first object of a class, and those after it
        with pytest.raises(TypeError, match=said):
            kinds.entry(*args, **names)
    with pytest.raises(TypeError, match="positional"):
        kinds.named(1)


def test_it_is_frozen(kinds: Kinds) -> None:
    for one in (kinds.entry("a"), kinds.named(first=1), kinds.open(1), kinds.under("a")):
        name = fields(one)[0].name
        before = getattr(one, name)
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, 2)
        with pytest.raises(FrozenInstanceError):
            delattr(one, name)
        assert getattr(one, name) == before
    with pytest.raises((FrozenInstanceError, TypeError)):  # TypeError: a fault of the standard library's
        kinds.entry("a").other = 1


def test_slots(kinds: Kinds) -> None:
    assert not hasattr(kinds.entry("a"), "__dict__") and not hasattr(kinds.under("a"), "__dict__")
    assert kinds.entry.__slots__ == ("name", "size", "parts") and kinds.under.__slots__ == ("more",)
    assert vars(kinds.open(1)) == {"value": 1}


def test_equality_and_hashes(kinds: Kinds) -> None:
    entry = kinds.entry("a", 1, [2])
    assert entry == kinds.entry("a", 1, [2]) and entry != kinds.entry("a", 1, [3]) and entry != ("a", 1, [2])
    assert entry != kinds.under("a", 1, [2]) and kinds.under("a") != entry
    assert kinds.under("a", more=1) == kinds.under("a", more=1) != kinds.under("a", more=2)
    assert kinds.empty() == kinds.empty() and hash(kinds.empty()) == hash(())
    assert hash(kinds.one("x")) == hash(("x",)) and {kinds.one("x"), kinds.one("x")} == {kinds.one("x")}
    assert hash(kinds.named(first=1)) == hash((1, 2))
    with pytest.raises(TypeError, match="unhashable"):
        hash(entry)
    assert kinds.same(1) != kinds.same(1) and len({kinds.same(1), kinds.same(1)}) == 2


def test_the_same_value_is_equal() -> None:
    """As in a tuple. Python's own dataclasses differ here from version to version."""
    nan, kinds = float("nan"), Kinds(ours, "R")
    assert kinds.one(nan) == kinds.one(nan) and kinds.one(nan) != kinds.one(float("nan"))


def test_it_tells_itself(kinds: Kinds) -> None:
    assert re.sub(r"^[SR]", "", repr(kinds.entry("a", 1))) == "Entry(name='a', size=1, parts=[])"
    assert repr(kinds.empty()).endswith("Empty()")
    assert repr(kinds.under("a")).endswith("Under(name='a', size=0, parts=[], more=7)")
    inside: list[object] = []
    inside.append(kinds.one(inside))
    assert repr(inside[0]).endswith("One(value=[...])")


def test_the_tools_of_dataclasses(kinds: Kinds) -> None:
    entry, kind = kinds.entry("a", 1, [2]), type(kinds.one(1))
    assert is_dataclass(kind) and [part.name for part in fields(entry)] == ["name", "size", "parts"]
    assert [part.type for part in fields(entry)] == [str, int, list[int]]
    changed = replace(entry, size=5)
    assert changed == kinds.entry("a", 5, [2]) and changed.parts is entry.parts and type(changed) is kinds.entry
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        replace(entry, other=1)
    assert replace(kinds.named(first=1), second=3) == kinds.named(first=1, second=3)
    assert asdict(kinds.one(entry)) == {"value": {"name": "a", "size": 1, "parts": [2]}}


def test_patterns(kinds: Kinds) -> None:
    match kinds.entry("a", 1):
        case kinds.entry(name, size, parts=[]):
            assert (name, size) == ("a", 1)
        case _:
            pytest.fail("no match")
    assert kinds.named.__match_args__ == () and kinds.under.__match_args__ == ("name", "size", "parts", "more")


def test_copies(kinds: Kinds) -> None:
    for one in (kinds.entry("a", 1, [2]), kinds.empty(), kinds.named(first=1), kinds.open(3)):
        for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert other == one and type(other) is type(one)
    entry = kinds.entry("a", 1, [2])
    assert copy.copy(entry).parts is entry.parts is not copy.deepcopy(entry).parts


def test_a_class_without_fields_of_its_own(kinds: Kinds) -> None:
    class Other(kinds.empty):  # type: ignore[name-defined, misc]
        """Shares all with its base."""

        __slots__ = ()

    assert Other() == Other() != kinds.empty() and repr(Other()).endswith("Other()")


def test_methods_of_its_own(kinds: Kinds) -> None:
    assert repr(kinds.own(1)) == "own 1" and kinds.own(1) == kinds.own(2) != kinds.own(4) and hash(kinds.own(5)) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="below 0"):
            kinds.own(-1)


@pytest.mark.parametrize("option", ["init", "repr", "compare"])
def test_what_is_not_heeded_is_refused(option: str) -> None:
    refused: Any = field
    with pytest.raises(TypeError, match="all fields of a record"):

        @record
        class Other:
            """A field that a record cannot have."""

            value: int = refused(default=0, **{option: False})


def test_no_frozen_dataclass_is_left() -> None:
    """Each takes a part of the start that a record does not."""
    root = Path(tokex_gguf.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py") if path.name != "record.py"}
    assert [path for path, source in sources.items() if re.search(r"^ *@dataclass\(.*frozen=True", source, re.M)] == []


def test_replace_is_the_standard_one() -> None:
    kinds = Kinds(ours, "C")
    changes: list[tuple[Any, dict[str, Any]]] = [
        (kinds.empty(), {}),
        (kinds.one([1]), {"value": None}),
        (kinds.entry("a", parts=[1]), {"size": 5}),
        (kinds.entry("a", 3), {"name": "b", "size": 0, "parts": [2]}),
        (kinds.named(first=1), {"second": 3}),
        (kinds.open(1), {"value": 2}),
        (kinds.own(1), {"value": 4}),
        (kinds.under("a", 1, [2], 3), {"more": 4, "size": 9}),
        (type("Plain", (kinds.entry,), {})("a"), {"size": 5}),
    ]
    for before, changed in changes:
        told = repr(before)
        for given in ({}, changed):
            new, same = compiled.replace(before, **given), replace(before, **given)
            assert new == same and type(new) is type(same) is type(before) and repr(new) == repr(same)
            assert new is not before
            assert all(getattr(new, part.name) is getattr(same, part.name) for part in fields(new))
        assert repr(before) == told
    same = kinds.same(1)
    assert compiled.replace(same) != same and compiled.replace(same, value=2).value == 2
    with pytest.raises(ValueError, match="below 0"):
        compiled.replace(kinds.own(1), value=-1)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Entry.__replace__\(\) got an unexpected keyword argument 'other'"):
            compiled.replace(kinds.entry("a"), other=1)
