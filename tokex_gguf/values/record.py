"""Frozen dataclasses whose classes are created in a twelfth of the time.

>>> @record
... class Point:
...     x: int
...     y: int = 0
>>> Point(1)
Point(x=1, y=0)

The standard library compiles six functions for each `@dataclass(frozen=True, slots=True)`, and a start of this program
makes more than a hundred and fifty such classes. Records are dataclasses all the same: `fields`, `replace`, `asdict`
and patterns know them, and `==`, `hash` and `repr` give the same. But these functions are shared, and only `__init__`
is compiled: when the first object of a class is created. So is what `replace` calls, which takes less than half as long
as the standard library's: it was the largest single part of a key's time.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from dataclasses import replace as replace  # type checkers compare the changes with the fields
else:

    def replace(one: Any, /, **changes: Any) -> Any:
        """A copy of a record, with other values for some fields.

        >>> @record
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> replace(Point(1), y=2)
        Point(x=1, y=2)
        """
        return one.__replace__(**changes)


T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, eq: bool = True, kw_only: bool = False, slots: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: Any = None, /, *, eq: bool = True, kw_only: bool = False, slots: bool = True) -> Any:
    """Makes a class a frozen dataclass, with slots. Without `eq`, each object equals itself alone.

    Fields have a type, and maybe a default, a default factory and metadata; what else `field` knows is refused.
    """
    bare = dataclass(init=False, repr=False, eq=False, kw_only=kw_only, slots=slots)

    def made(cls: Any) -> Any:
        cls = bare(cls)
        parts = fields(cls)
        if not all(part.init and part.repr and part.compare for part in parts):
            raise TypeError(f"{cls.__qualname__}: all fields of a record are given, told and compared")
        methods = {
            "__init__": _first(cls, "__init__", _compiled_init),
            "__repr__": _repr,
            "__setattr__": _frozen,
            "__delattr__": _frozen,
        }
        if eq:
            methods["__eq__"], methods["__hash__"] = _comparison(parts)
        if slots:
            methods["__setstate__"] = _set_state
        for name, method in methods.items():
            if name not in vars(cls):
                setattr(cls, name, method)
        cls.__replace__ = _first(cls, "__replace__", _compiled_replace)  # Python 3.13 has a slower one
        return cls

    return made if cls is None else made(cls)


def _comparison(parts: tuple[Field[Any], ...]) -> tuple[Callable[[Any, object], bool], Callable[[Any], int]]:
    """`__eq__` and `__hash__`, by the tuple of all values."""
    names = [part.name for part in parts]
    get = attrgetter(*names) if names else lambda _: ()
    values = get if len(names) != 1 else lambda one: (get(one),)  # in a tuple, identical objects are equal

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807  the method's own name
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


@recursive_repr()
def _repr(self: Any) -> str:
    values = ", ".join(f"{part.name}={getattr(self, part.name)!r}" for part in fields(self))
    return f"{type(self).__qualname__}({values})"


def _frozen(self: object, name: str, _: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__qualname__}")


def _set_state(self: object, state: tuple[None, dict[str, Any]]) -> None:
    """For copies, which set attributes one by one."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)


def _first(cls: Any, name: str, compiled: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """A method that compiles the one to use when it is first called."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        setattr(cls, name, compiled(cls))
        return getattr(cls, name)(self, *args, **kwargs)

    return method


def _setting(cls: Any, name: str, target: str, value: str, known: dict[str, Any]) -> str:
    """The line that sets a field of `target`. `known`: the names for compiled code."""
    if isinstance(slot := getattr(cls, name, None), MemberDescriptorType):
        known[f"_set_{name}"] = slot.__set__  # `object.__setattr__` would look it up each time
        return f" _set_{name}({target}, {value})\n"
    known["_set"] = object.__setattr__
    return f" _set({target}, {name!r}, {value})\n"


def _compile(cls: Any, name: str, parameters: str, body: str, known: dict[str, Any]) -> Callable[..., Any]:
    exec(f"def {name}({parameters}):\n{body or ' pass'}", known)
    method: Callable[..., Any] = known[name]
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    return method


def _compiled_init(cls: Any) -> Callable[..., Any]:
    given: list[str] = []
    named: list[str] = []
    lines: list[str] = []
    known: dict[str, Any] = {"_missing": MISSING}
    for part in fields(cls):
        name, value, default = part.name, part.name, ""
        if part.default is not MISSING:
            known[f"_default_{name}"] = part.default
            default = f"=_default_{name}"
        elif part.default_factory is not MISSING:
            known[f"_default_{name}"] = part.default_factory
            default, value = "=_missing", f"_default_{name}() if {name} is _missing else {name}"
        (named if part.kw_only else given).append(f"{name}{default}")
        lines.append(_setting(cls, name, "self", value, known))
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()\n")
    parameters = ", ".join(["self", *given, *(["*", *named] if named else [])])
    return _compile(cls, "__init__", parameters, "".join(lines), known)


def _compiled_replace(cls: Any) -> Callable[..., Any]:
    names = [part.name for part in fields(cls)]
    known: dict[str, Any] = {"_new": object.__new__, "_missing": MISSING}
    lines = [" _copy = _new(self.__class__)\n"]
    lines += [_setting(cls, name, "_copy", f"self.{name} if {name} is _missing else {name}", known) for name in names]
    if hasattr(cls, "__post_init__"):
        lines.append(" _copy.__post_init__()\n")
    lines.append(" return _copy\n")
    parameters = ", ".join(["self", *(["/", "*"] if names else ["/"]), *(f"{name}=_missing" for name in names)])
    return _compile(cls, "__replace__", parameters, "".join(lines), known)
