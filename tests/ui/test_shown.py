"""Every token of six vocabularies on a real terminal: what is painted is what was meant, and nothing but text.

A session is written whose prompts hold all tokens of a vocabulary, in their order; the program goes on with it in a
pseudo-terminal, and every prompt is looked at. What comes through the terminal's wire is searched for control
characters, interpreted by a terminal emulator, and held against the screen that was meant, cell by cell. Afterwards
the session that the program has saved is read: the same tokens, byte by byte.

The long form, all tokens: `pytest -m soak tests/ui/test_shown.py`. Another seed: SHOWN_SEED.
"""

import os
import random
import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyte
import pytest

from tests import tiny_models
from tests.figures import Figure
from tests.fresh import open_model
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.engine.protocol import Loaded
from tokex_gguf.engine.worker.fingerprints import content
from tokex_gguf.engine.worker.llama import Llama
from tokex_gguf.play.game import EngineStatus, Game, Prompt, Settings
from tokex_gguf.play.session import Session
from tokex_gguf.sessions import codec
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.model_ref import GgufFile

SEED = int(os.environ.get("SHOWN_SEED", "1"))
ROWS, COLUMNS = 260, 130
TOGETHER = 240
"""Tokens on one screen."""

CONTROLS = [bytes([byte]) for byte in (*range(0x20), 0x7F)]
C1 = [chr(code).encode() for code in range(0x80, 0xA0)]
ESCAPES = [
    *(
        b"\x1b[2J",
        b"\x1b[31m",
        b"\x1b[H",
        b"\x1b[?1049l",
        b"\x1b]0;title\x07",
        b"\x1b]52;c;eA==\x1b\\",
        b"\x1bP+q\x1b\\",
    ),
    *(b"\x1bc", b"\x1b(0", b"\x1b[6n", b"\x1b[8;1;1t", b"\x9b31m", "\x9b2J".encode(), "\x9d0;x\x9c".encode(), b"a\rb"),
    *(b"\x1b", b"\x1b[", b"x\x08\x08\x08", b"a\x0bb\x0cc", b"\x0e\x0f", b"\r\n", b"a\nb\n", b"\t\t", b"\x1b[?2004h\n"),
]
BIDI = [chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
HIDDEN = [
    chr(code) for code in (0xAD, 0x34F, 0x200B, 0x200C, 0x200D, 0x2060, 0xFE0E, 0xFE0F, 0xFEFF, 0xE0041, 0x2028, 0x2029)
]
WIDE = [
    "日本",
    "한글",
    "ｆｕｌｌ",
    "👩‍👩‍👧",
    "🏳️‍🌈",
    "🇩🇪",
    "🇩",
    "👍🏽",
    "❤️",
    "1️⃣",
    "e\u0301\u0302\u0303",
    "ก็",
    "नि",
    "\u0301",
    "\u20dd",
]
BROKEN = [
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x99", b"\x80", b"\xbf\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *(b"\xff\xfe", b"\xc2", b"\x9b", b"\x82\xac", b"\x99\x82", b"\xe2\x80", b"\xae", b"a\xff\nb", b"\xef\xbb"),
]
"""Some are the halves of others: beside each other they are a character."""
CORPUS = [
    *(CONTROLS + C1 + ESCAPES + BROKEN),
    *(char.encode() for char in BIDI + HIDDEN + WIDE),
    *(f"a{char}b".encode() for char in BIDI + HIDDEN + WIDE),
]


def characters() -> list[str]:
    """Every character that is not simply printed, and some of the others."""
    awkward = ("Cc", "Cf", "Cn", "Co", "Mn", "Me", "Mc", "Zs", "Zl", "Zp", "Sk", "Lm")
    chance = random.Random(SEED)
    found = []
    for code in (*range(1, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)):
        likely = 1.0 if unicodedata.category(chr(code)) in awkward[:2] else 0.25
        likely = likely if unicodedata.category(chr(code)) in awkward[:2] + awkward[4:] else 0.02
        if chance.random() < likely:
            found.append(chr(code))
    return found


def noise() -> list[bytes]:
    """Bytes by chance: more of those that mean something to terminals and to UTF-8."""
    chance = random.Random(SEED)
    often = b"\x1b[]\x9b\x00\x07\n\r;m\xc2\xe2\x80\xae\xf0\x9f\xff 0a"
    bytes_ = [bytes(chance.choices([*range(256), *often * 4], k=chance.randint(2, 9))) for _ in range(6000)]
    return list(dict.fromkeys(bytes_))


Maker = Callable[[Path], Path]

MADE: dict[str, Maker] = {
    "byte-level": tiny_models.qwen2,
    "SentencePiece": tiny_models.llama,
    "corpus": lambda folder: tiny_models.qwen2(
        folder, "corpus", CORPUS, ["<\x1b[2J>", "<\u202eright>", "<\x9b1m>", "<\n>"]
    ),
    "characters": lambda folder: tiny_models.llama(folder, "characters", characters()),
    "noise": lambda folder: tiny_models.qwen2(folder, "noise", noise()),
}
VOCABULARIES = ["SmolLM2", *MADE]


def made(name: str, folder: Path, real: Path) -> Path:
    return real if name == "SmolLM2" else MADE[name](folder)


# --- a session with all tokens on its screens


class Shelf(NamedTuple):
    """A session that shows all tokens."""

    session: Session
    tokens: int


def shelve(path: Path, share: float) -> Shelf:
    """The session with a share of a model's tokens, the awkward ones in any case."""
    model = open_model(path, 256)
    chance = random.Random(SEED)
    pieces = {token: model.vocabulary.piece(token) for token in range(model.vocabulary.size)}
    shown = [token for token, piece in pieces.items() if chance.random() < share or awkward(piece.data, share)]
    settings = Settings("x", GgufFile(str(path)), lookahead=0, tokens_to_show=TOGETHER)
    session = Session(Game(settings, model=loaded(model, path), context=model.cells), begun=True)
    session.game.known.pieces.update({token: pieces[token] for token in shown})
    prompts = []
    for start in range(0, len(shown), TOGETHER):
        together = shown[start : start + TOGETHER]
        table = Distribution.of(1.0, together, [-0.01 * rank for rank in range(len(together))])
        node = session.game.known.root
        for token, following in zip(together, [*together[1:], None], strict=True):
            node = node.child(token)
            # All are known, so that nothing is left to ask the engine for; the whole table at the tip only.
            node.attach(table if following is None else Distribution.of(1.0, [following], [-1.0]))
        node.visit()
        prompts.append(Prompt(node))
    for prompt in prompts:
        for node in prompt.tip.nodes():
            if node.taken is None and node.depth > 1:
                raise AssertionError("not known")
    return Shelf(replace(session, game=replace(session.game, prompts=tuple(prompts))), len(shown))


def awkward(data: bytes, share: float) -> bool:
    """Whether a token is shown in a short run as well: where few of very many are, only the worst."""
    text = data.decode(errors="replace")
    worst = any(unicodedata.category(char) in ("Cc", "Cf") for char in text.replace("\n", ""))
    return worst and share > 0.01


def loaded(model: Llama, path: Path) -> Loaded:
    vocabulary = model.vocabulary
    return Loaded(
        *(model.name, model.architecture, model.quantization, vocabulary.size, model.cells, model.context_limit),
        *(vocabulary.bos, vocabulary.space_prefix(), content([path])),
    )


# --- what comes through the wire

ORDERS = re.compile(
    rb"\x1b\]11;\?\x1b\\|\x1b\[c|\x1b\[\??[0-9;]*[A-HJKhlmnt]|\x1b\[[0-9]* ?q|\x1b\([B0]|\x1b[=>78]|\x08|[\r\n]"
)
"""How the program moves the cursor, colours, switches modes, and asks for the background. What a token might slip in
among them changes the picture, which is compared as well."""


def only_text(raw: bytes) -> None:
    """Says what came that is neither an order of the program's nor printable text."""
    text = ORDERS.sub(b"", raw).decode()
    wrong = {f"U+{ord(char):04X}" for char in set(text) if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not wrong, wrong


def meant(session: Session) -> list[str]:
    """The lines between header and status, as they are to stand on the screen."""
    lines = ScreenRenderer().screen(session, COLUMNS, ROWS)[1:-4]
    return [normal("".join(text for _, text in line)) for line in lines]


def normal(line: str) -> str:
    """Without differences that no eye sees: an accent in one character with its letter, or behind it."""
    return unicodedata.normalize("NFC", line).rstrip()


class Emulator(pyte.Screen):  # type: ignore[misc, unused-ignore]
    """A terminal that keeps every mark, and gives spacing ones a cell; pyte drops some, and all that follows them."""

    def draw(self, data: str) -> None:
        start = 0
        for index, char in enumerate(data):
            spacing = unicodedata.category(char) == "Mc"
            if spacing or (cells_of(char) == 0 and not unicodedata.combining(char)):
                super().draw(data[start:index])
                start = index + 1
                if spacing:
                    self.buffer[self.cursor.y][self.cursor.x] = self.cursor.attrs._replace(data=char)
                    self.cursor.x += 1
                    continue
                line, column = self.buffer[self.cursor.y], self.cursor.x - 1
                line[column] = line[column]._replace(data=line[column].data + char)
        super().draw(data[start:])


class Watched(Terminal):
    """The program in a terminal whose whole screens are compared."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments, rows=ROWS, columns=COLUMNS)
        self.screen = Emulator(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)

    def body(self) -> list[str]:
        rows = []
        for row in range(1, ROWS - 4):
            cells = self.screen.buffer[row]
            rows.append(normal("".join(cells[column].data for column in range(COLUMNS))))
        return rows

    def becomes(self, expected: list[str], place: int) -> None:
        """Waits for a screen. Says in which line another stands."""
        status = f" Prompt {place + 1}/"
        end = time.monotonic() + 60
        while True:
            self.pump()
            cells = self.screen.buffer[ROWS - 4]
            if "".join(cells[column].data for column in range(len(status))) == status and self.body() == expected:
                return
            if time.monotonic() > end or not self.child.isalive():
                break
        for line, wanted in zip(self.body(), expected, strict=True):
            assert line == wanted
        raise AssertionError("this prompt is never shown:\n" + self.screen.display[ROWS - 4])


def look_at_all(path: Path, folder: Path, share: float) -> tuple[int, int]:
    """Shows a vocabulary; returns how many tokens and screens there were."""
    shelf = shelve(path, share)
    kept = folder / "state" / "tokex-gguf" / "sessions" / "shown.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(codec.dump(shelf.session))
    (folder / "config.toml").write_text(f"[engine]\nlookahead = 0\n[display]\ntokens_to_show = {TOGETHER}\n")
    terminal = Watched("--session", "shown", "--model", str(path))
    try:
        for place in range(len(shelf.session.game.prompts)):
            if place:
                terminal.press("w")
            session = replace(shelf.session, game=replace(shelf.session.game, active=place, engine=EngineStatus.READY))
            terminal.becomes(meant(session), place)
        terminal.press("ctrl-q")
        assert terminal.ends() == 0
    finally:
        terminal.child.close(force=True)
    only_text(terminal.raw)
    again = codec.load(kept.read_bytes(), Settings("", GgufFile("")))
    assert again.game.active == len(shelf.session.game.prompts) - 1, "it was saved after the last screen"
    assert [prompt.tip.path() for prompt in again.game.prompts] == [p.tip.path() for p in shelf.session.game.prompts]
    assert again.game.known.pieces == shelf.session.game.known.pieces
    return shelf.tokens, len(shelf.session.game.prompts)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


SHARES = {"SmolLM2": 0.002, "byte-level": 0.5, "SentencePiece": 0.1, "corpus": 0.05, "characters": 0.002, "noise": 0.02}
"""How much of each vocabulary is shown in a short run."""


@pytest.mark.parametrize("name", few(VOCABULARIES, of=6))
def test_tokens_of_a_vocabulary(name: str, tmp_path: Path, model_path: Path, figure: Figure) -> None:
    tokens, screens = look_at_all(made(name, tmp_path, model_path), tmp_path, SHARES[name])
    figure(tokens, "tokens on a terminal", seed=SEED, screens_at_a_time=screens)


@pytest.mark.soak
@pytest.mark.parametrize("name", VOCABULARIES)
def test_all_tokens_of_a_vocabulary(name: str, tmp_path: Path, model_path: Path, figure: Figure) -> None:
    tokens, _ = look_at_all(made(name, tmp_path, model_path), tmp_path, 1.0)
    figure(tokens, f"tokens of {len(VOCABULARIES)} vocabularies on a terminal", seed=SEED)
