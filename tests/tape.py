"""What real servers have answered, kept in files, and questions that are answered from these: without a socket."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tokex_gguf.engine.remote.dialects.dialect import Call, CallRefused, Dialect, InvalidAnswer, ServerAnswer, Steps
from tokex_gguf.engine.remote.dialects.probe import probe
from tokex_gguf.engine.remote.http import HttpClient
from tokex_gguf.values.server_url import parse
from tokex_gguf.values.tokens import Piece

T = TypeVar("T")

FOLDER = Path(__file__).parent / "data" / "servers"
TEXT = "Once upon a time, there was a café.<|im_end|>\n"
HALVES = "🙂" * 6
TOP = 20
CHAT = [{"role": "user", "content": "Hi!"}]


class Asked(NamedTuple):
    """What was asked of a server, and what its dialect makes of the answers."""

    dialect: Dialect
    path: list[int]
    pieces: dict[int, Piece]
    along: list[ServerAnswer]
    """After each of the path's tokens, at once."""
    after: list[ServerAnswer]
    """The same, one by one, and without the token that comes."""
    unlikely: ServerAnswer
    """With a token asked for that is not among the likeliest."""
    half: ServerAnswer
    """With half a character asked for."""
    halves: list[int]
    """The path with it."""
    branches: list[ServerAnswer]
    """After the path and each of the likeliest tokens behind it."""
    chat: list[int]


def ask(run: Callable[[Steps[Any]], Any], model: str = "") -> Asked:
    """All kinds of questions to a server. `run`: answers one."""
    dialect: Dialect = run(probe(model))
    path = run(dialect.tokenize(TEXT, special=True, continues=False))
    after = [run(dialect.after([path[: place + 1]], [None], TOP))[0] for place in range(len(path))]
    along = run(dialect.along(path, 0, TOP))
    unlikely = run(dialect.after([path[:4]], [path[0]], TOP))[0]
    halves = run(dialect.tokenize(HALVES, special=False, continues=True))
    half = run(dialect.after([halves[:4]], [halves[4]], TOP))[0]
    branches = run(dialect.after([[*path, one] for one in after[-1].ids[:3]], [None] * 3, TOP))
    mentioned = sorted({*path, *halves, *(one for answer in after for one in answer.ids)})
    pieces = run(dialect.pieces(mentioned))
    assert run(dialect.identity()) == dialect.served.identity
    return Asked(dialect, path, pieces, along, after, unlikely, half, halves, branches, run(dialect.chat(CHAT)))


def record(url: str, file: Path, **about: str) -> Asked:
    """Asks a server, and keeps its answers. `about`: what else there is to say of it."""
    client = HttpClient(parse(url))
    rows: list[dict[str, Any]] = []

    def taped(steps: Steps[T]) -> Steps[T]:
        try:
            call = next(steps)
            while True:
                row: dict[str, Any] = {"path": call.path, "body": call.body}
                try:
                    answer = yield call
                except CallRefused as refused:
                    rows.append({**row, "refused": [refused.status, str(refused)]})
                    call = steps.throw(refused)
                else:
                    rows.append({**row, "answer": answer})
                    call = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    try:
        asked = ask(lambda steps: client.run(taped(steps)))
    finally:
        client.close()
    about["served"] = asked.dialect.served.software
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in [about, *rows]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return asked


class Tape:
    """Answers calls as they were answered when recorded; one that was not made then is an error."""

    def __init__(self, file: Path) -> None:
        lines = file.read_text(encoding="utf-8").splitlines()
        self.about: dict[str, str] = json.loads(lines[0])
        self._rows = {_key(row["path"], row["body"]): row for row in map(json.loads, lines[1:])}
        self.made: set[str] = set()

    def run(self, steps: Steps[T]) -> T:
        """Asks one question."""
        return answered(steps, self._answer)

    def _answer(self, call: Call) -> Any:
        key = _key(call.path, call.body)
        assert key in self._rows, f"not recorded: {key[:300]}"
        self.made.add(key)
        row = self._rows[key]
        if "refused" in row:
            raise CallRefused(*row["refused"])
        data = json.dumps(row["answer"], ensure_ascii=False).encode()
        assert len(data) <= call.most, f"{len(data)} bytes, and {call.most} were believed: {key[:100]}"
        return row["answer"]

    @property
    def unused(self) -> set[str]:
        return set(self._rows) - self.made


def answered(steps: Steps[T], answer: Callable[[Call], Any]) -> T:
    """Asks a question of a function."""
    try:
        call = next(steps)
        while True:
            try:
                told = answer(call)
            except (CallRefused, InvalidAnswer) as error:
                call = steps.throw(error)
            else:
                call = steps.send(told)
    except StopIteration as end:
        result: T = end.value
        return result


def _key(path: str, body: Any) -> str:
    return f"{path} {json.dumps(body, sort_keys=True)}"


def tapes() -> Iterator[Path]:
    """All that were recorded."""
    yield from sorted(FOLDER.glob("*.jsonl"))
