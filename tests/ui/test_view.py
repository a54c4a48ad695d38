"""The screen as a function of session and size: drawings, without a terminal."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import fake
from tests.fake import Play, on, started
from tests.fake import sampled as through
from tests.play import test_second_model
from tests.play.test_switching import HEADER
from tests.play.test_versus import compared, lax, two
from tests.sampling import few, some
from tokex_gguf.engine.protocol import Checked, EngineDied, Evaluate, EvaluateStrictly, Failed, Loading, Walk
from tokex_gguf.models import catalogue
from tokex_gguf.models.catalogue import CatalogueEntry
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import SCREENS, help_entries, hints, keys_of
from tokex_gguf.play.game import Cost, Sampling
from tokex_gguf.play.messages import (
    CompareFurther,
    ListedSessions,
    ListedStarters,
    Message,
    PointedAtToken,
    Resized,
    Typed,
)
from tokex_gguf.play.purposes import ForVerdicts
from tokex_gguf.play.rules.tree import selected_end
from tokex_gguf.play.screens import Screen
from tokex_gguf.play.session import Palette, Session, Starter
from tokex_gguf.play.table import table
from tokex_gguf.play.versus import Parting
from tokex_gguf.ui import prompt_pane, second, theme, versus
from tokex_gguf.ui.cells import Line, bar, cells_of, width_of
from tokex_gguf.ui.lens_lines import percent
from tokex_gguf.ui.screen import GREETING, ScreenRenderer, rows_of
from tokex_gguf.ui.screen_table import shown
from tokex_gguf.ui.status import AssistantTurns, status
from tokex_gguf.ui.table import bar_scale, table_lines
from tokex_gguf.ui.theme import styles
from tokex_gguf.values import layers
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import TokenPair
from tokex_gguf.values.distribution import Candidate, TokenLogprob
from tokex_gguf.values.formatting import number
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import DEFAULT, GREEDY, NO_CHAIN, Chain, Kind, Sampler
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry
from tokex_gguf.values.stops import AfterTokens
from tokex_gguf.values.tokens import Piece, label
from tokex_gguf.values.tree import Node

SIZES = [(60, 16), (80, 24), (99, 30), (100, 24), (130, 40), (500, 200), (61, 300)]


KNOWN = {*theme.styles("standard"), "reverse", "bold"}


def draw(play: Play, width: int = 130, height: int = 40) -> list[Line]:
    return ScreenRenderer().screen(play.session, width, height)


def text(play: Play, width: int = 130, height: int = 40) -> str:
    return "\n".join("".join(part for _, part in line) for line in draw(play, width, height))


class Below(NamedTuple):
    """What stands below the panes."""

    status: str
    second: str
    keys: str


def below(drawn: str) -> Below:
    lines = drawn.splitlines()
    rows = 2 if len(lines) >= 24 else 1
    return Below(lines[-rows - 2], lines[-rows - 1], " ".join(lines[-rows:]))


def waiting(*keys: Message) -> Play:
    """A game whose last key waits for the engine."""
    play = started()
    for key in keys:
        play.take(key)
    return play


def comparing() -> Play:
    """Two prompts of whose strict numbers a part has come."""
    play = lax(two())
    play.take(Action.VERSUS)
    request = play.asked.pop(0)
    assert isinstance(request, EvaluateStrictly)
    play.take(fake.evaluated(request))
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    request = play.asked.pop(0)
    assert isinstance(request, EvaluateStrictly)
    play.take(fake.evaluated(request, request.start, len(request.path) - 12))
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    return play


def dead() -> Play:
    play = started()
    play.take(EngineDied("SIGSEGV"))
    return play


def full() -> Play:
    play = waiting(Action.APPEND)
    play.take(Failed(play.session.counts.requests, "context full (5/5): the prompt has 6 tokens, 5 fit", 5))
    return play


def listed() -> Play:
    play = started().press(Action.PROMPTS)
    play.take(ListedStarters((Starter("a\nb.txt", "some text\n" * 30), Starter("c.txt", "more"))))
    return play


def forked() -> Play:
    """A game of several paths that part at several places, and two open prompts, one with a name."""
    play = started("hello world how are you")
    for index in range(4):
        play.press(*[Action.POP] * (2 * index + 1), *[Action.DOWN] * (index % 3 + 1), *[Action.APPEND] * (index + 3))
    play.press(Action.COPY, *[Action.POP] * 4, Action.DOWN, Action.APPEND)
    return play.press(Action.PROMPTS, Action.RENAME, Typed("the other end"), Action.ENTER, Action.CLOSE)


def many() -> Play:
    """Twelve prompts that begin alike and go on differently."""
    play = started("hello world how are you")
    for index in range(11):
        play.press(Action.COPY, *[Action.POP] * (index % 4), *[Action.DOWN] * (index + 1), Action.APPEND, Action.APPEND)
    return play


def sampled(chain: Chain = DEFAULT) -> Play:
    """A game whose tokens are drawn through a chain, which is open."""
    play = started("hello world")
    sampling = Sampling(chain)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    return play.press(Action.SAMPLERS)


def beginning() -> Play:
    """A game in which no key was pressed."""
    play = started("hello")
    play.session = replace(play.session, begun=False)
    return play


def sessions() -> Play:
    """The list of sessions, more than fit; one is played here, one elsewhere, one is damaged."""
    play = started()
    play.take(Action.SESSIONS)
    held = {1: PlayedBy.HERE, 2: PlayedBy.ELSEWHERE}
    entries = [
        SessionEntry(
            name=f"autosave-{index}",
            called="tale" if index == 2 else "",
            short=f"{index}",
            text="Once upon a time, 漢字 " * 3,
            saved=1.0,
            when="today 12:00",
            prompts=3,
            tokens=100 * index,
            visited=300 * index,
            model="Fake 135M",
            asked="fake",
            held=held.get(index, PlayedBy.NOBODY),
            fault="not JSON" if index == 3 else "",
        )
        for index in range(40)
    ]
    play.take(ListedSessions(tuple(entries)))
    return play.press(*[Action.DOWN] * 20)


def walking() -> Play:
    """A prompt on a server of which some tokens are not coloured yet."""
    play = fake.walking("hello world " * 20)
    play.take(Action.LAYER)
    walk = play.asked[-1]
    assert isinstance(walk, Walk)
    for place in walk.places[:24]:
        play.take(fake.evaluated(walk, place, place + 1, fake.GIVEN))
    return play


def inside() -> Play:
    """At a token in the middle."""
    return started("hello world " * 20).press(*[Action.CURSOR_FAR_BACK] * 9, Action.TOP)


def edited() -> Play:
    """Where a token was replaced, and the tokenizer would cut the seam in another way."""
    play = inside()
    play.take(Action.REPLACE)
    while play.asked:
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    play.take(Checked(play.checks.pop().request, play.session.game.prompt.place.tip.depth))
    return play.press(Action.LAYER)


def looking_back_on_a_server() -> Play:
    """At a token that is not among the candidates."""
    play = fake.served("hello world " * 20).press(Action.LAYER, Action.CURSOR_BACK)
    while not ((cursor := play.session.game.prompt.cursor) and cursor.taken and cursor.taken.at_least):
        play.press(Action.CURSOR_BACK)
    return play


def lost() -> Play:
    play = fake.served()
    play.take(EngineDied("it answers no more"))
    return play


SAMPLERS = Chain((Sampler.of(Kind.TOP_K, 12), Sampler.of(Kind.MIN_P, 0.05), Sampler.of(Kind.TEMPERATURE, 0.7)))

HEAT = Chain((Sampler.of(Kind.TEMPERATURE, 0.5),))


def answering() -> Play:
    """Answers of two tokens."""
    return started("hello", stop=AfterTokens(2)).press(Action.ANSWERS)


def looking_for_answers() -> Play:
    """None was found yet."""
    play = started("hello", stop=AfterTokens(2))
    play.take(Action.ANSWERS)
    return play


def trying_second_choices() -> Play:
    """Where some lead to another answer, some to the same, and some to none."""
    play = started("hello there, what is it?", stop=AfterTokens(2), critical=12, critical_tokens=25)
    play.press(Action.ANSWERS, Action.CRITICAL, Action.LEAD, Action.ERASE_LINE, Typed("b"), Action.ENTER)
    return play.press(*[Action.DOWN] * 2)


def looking_for_doubt() -> Play:
    """No answer was found yet."""
    play = started("hello there, what is it?", stop=AfterTokens(2)).press(Action.ANSWERS)
    play.take(Action.CRITICAL)
    return play


STATES: dict[str, Callable[[], Play]] = {
    "loading": lambda: Play("some text\nof two lines"),
    "ready": lambda: started("hello world " * 50),
    "short": lambda: started("h"),
    "probability": lambda: started("hello " * 50).press(Action.LAYER),
    "entropy": lambda: started("hello " * 50).press(Action.LAYER, Action.LAYER),
    "working": lambda: waiting(Action.APPEND),
    "ahead": lambda: started("hello " * 50, lookahead=3, lookahead_tokens=60).press(Action.DOWN),
    "ahead of the prompt": lambda: started("hello " * 50, lookahead=3, lookahead_tokens=60).press(Action.GHOST),
    "constraining": lambda: started("hello").press(Action.CONSTRAINT, Typed("[0-9]+")),
    "constraining by a schema": lambda: started("hello").press(Action.CONSTRAINT, Action.KIND, Action.CARET_RIGHT),
    "under a constraint": lambda: started("hello").press(
        *(Action.CONSTRAINT, Typed("02468"), Action.ENTER, Action.APPEND, Action.APPEND, Action.MORE_LAYERS)
    ),
    "scored under a constraint": lambda: started().press(
        *(Action.CONSTRAINT, Typed("_<?"), Action.ENTER, Action.INPUT),
        *(Typed("oo"), Action.SCORE, Typed("oxo"), Action.SCORE, Typed("xo"), Action.SCORE),
    ),
    "the beginning": beginning,
    "in the middle": lambda: started("hello " * 500).press(Action.COMMANDS, Typed("1500"), Action.ENTER),
    "finding": lambda: started().press(Action.FIND, Typed("e")),
    "help": lambda: started().press(Action.HELP),
    "dead": dead,
    "full": full,
    "looking back": lambda: started("hello world " * 60).press(Action.CURSOR_FAR_BACK, Action.CURSOR_BACK, Action.UP),
    "at the first token": lambda: started().press(Action.CURSOR_FIRST),
    "rank": lambda: started("hello " * 50).press(Action.MORE_LAYERS),
    "surprisal": lambda: started("hello " * 50).press(*[Action.MORE_LAYERS] * 2),
    "relative": lambda: started("hello " * 50).press(*[Action.MORE_LAYERS] * 3),
    "boundaries": lambda: started("hello " * 50).press(*[Action.MORE_LAYERS] * 4),
    "without colours": lambda: started("hello " * 50).press(*[Action.PALETTE] * 2, Action.LAYER),
    "chosen tokens": lambda: started("hello").press(*[Action.DOWN, Action.APPEND] * 5),
    "searching": lambda: started().press(Action.SEARCH, Typed("a")),
    "nothing found": lambda: started().press(Action.SEARCH, Typed("no such text")),
    "typing": lambda: started().press(Action.INPUT, Typed("x\ty\n" * 60)),
    "insert": lambda: inside().press(Action.INSERT, Action.TAKE_IN, Action.TAKE_IN, Typed("z")),
    "edited": edited,
    "scored": lambda: started().press(Action.INPUT, Typed("ab"), Action.SCORE, Typed("c"), Action.SCORE, Typed("d")),
    "answers": lambda: answering().press(*[Action.DOWN] * 3),
    "answers by their first token": lambda: answering().press(Action.SORT, Action.DOWN),
    "answers in groups": lambda: answering().press(Action.GROUP, Action.DOWN),
    "answers under samplers": lambda: fake.sampled(HEAT, "hello").press(Action.ANSWERS),
    "answers to be looked for": looking_for_answers,
    "answerstop": lambda: answering().press(Action.STOP_TEXT),
    "criticallist": trying_second_choices,
    "critical tokens to be looked for": looking_for_doubt,
    "critical tokens under samplers": lambda: fake.sampled(HEAT, "hello").press(Action.ANSWERS, Action.CRITICAL),
    "criticallead": lambda: trying_second_choices().press(Action.LEAD),
    "answerpattern": lambda: answering().press(Action.PATTERN),
    "tree": lambda: started().press(*[Action.APPEND, Action.POP, Action.DOWN] * 3, Action.TREE),
    "prompts": lambda: listed(),
    "models": lambda: started().press(Action.MODELS),
    "secondmodels": lambda: started().press(Action.VERSUS_MODEL),
    "sessions": sessions,
    "commands": lambda: started().press(Action.COMMANDS, Typed("l")),
    "name": lambda: started().press(Action.NAME, Typed("my tale")),
    "a starter": lambda: listed().press(Action.DOWN),
    "treesearch": lambda: forked().press(Action.TREE, Action.FILTER, Typed("_")),
    "listsearch": lambda: many().press(Action.PROMPTS, Action.FILTER, Typed("6 n")),
    "newprompt": lambda: started().press(Action.PROMPTS, Action.NEW, Typed("It begins\nhere")),
    "promptname": lambda: forked().press(Action.PROMPTS, Action.RENAME),
    "forks": lambda: forked().press(Action.TREE),
    "folded and pruned": lambda: forked().press(
        *(Action.TREE, Action.TOP, *[Action.DOWN] * 3, Action.PRUNE, Action.PRUNE, Action.UP, Action.FOLD)
    ),
    "twelve prompts": many,
    "samplers": sampled,
    "no samplers": lambda: sampled(NO_CHAIN),
    "mirostat": lambda: sampled(
        DEFAULT.biased(3, -1.0)
        .with_sampler(Sampler.of(Kind.MIROSTAT, 2))
        .with_sampler(Sampler.of(Kind.MIN_P).switched())
    ),
    "samplerstoadd": lambda: sampled(GREEDY).press(Action.ADD, Action.DOWN),
    "samplervalue": lambda: sampled().press(Typed("5"), Typed("0")),
    "samplertext": lambda: sampled().press(Action.READ_IN, Typed("--top-k 5")),
    "prompts that differ": lambda: many().press(Action.PROMPTS),
    "through samplers": lambda: through(SAMPLERS).press(*[Action.DOWN] * 6),
    "sorted by final": lambda: through(SAMPLERS).press(Action.ORDER, Action.DOWN, Action.UNLIKELIER, Action.UNLIKELIER),
    "reachable": lambda: through(SAMPLERS, "hello " * 50).press(*[Action.MORE_LAYERS] * 5, Action.PREVIOUS_SURPRISAL),
    "reachable without samplers": lambda: started().press(*[Action.MORE_LAYERS] * 5),
    "cost without a constraint": lambda: through(SAMPLERS).press(*[Action.MORE_LAYERS] * 6),
    "rolled": lambda: through(SAMPLERS).press(Action.ROLL),
    "rolled without samplers": lambda: started().press(Action.ROLL),
    "drawn many": lambda: through(SAMPLERS).press(Action.DRAW_MANY),
    "ban": lambda: started().press(Action.COMMANDS, Typed("ban"), Action.ENTER, Typed("a")),
    "on a server": lambda: fake.served("hello world " * 20).press(Action.LAYER, Action.LAYER),
    "looking back on a server": looking_back_on_a_server,
    "walking": walking,
    "ranks on a server": lambda: fake.served("hello world " * 20).press(Action.MORE_LAYERS),
    "the price of a search": lambda: fake.served("hello world").press(Action.SEARCH),
    "a lost connection": lost,
    "scored on a server": lambda: fake.served().press(Action.INPUT, Typed("abcdef"), Action.SCORE),
    "comparing": lambda: compared(),
    "comparing at a token": lambda: compared().press(Action.NEXT_SURPRISAL, Action.MORE_LAYERS, Action.CURSOR_ON),
    "comparing at a token that B lacks": lambda: compared().press(
        *(Action.COMMANDS, Typed("2"), Action.ENTER, Action.PALETTE, Action.PALETTE)
    ),
    "comparing while it is computed": comparing,
    "seed": lambda: through(SAMPLERS).press(Action.COMMANDS, Typed("seed"), Action.ENTER),
    "drawcount": lambda: started().press(Action.COMMANDS, Typed("draw"), Action.ENTER, Typed("1000")),
}


@cache
def session_of(name: str) -> Session:
    """A state's session: drawing changes nothing of it."""
    return STATES[name]().session


@pytest.mark.parametrize(
    ("name", "width", "height"),
    some([(name, *size) for name in STATES for size in [*SIZES, (1, 1), (59, 40), (130, 15)]], of=3),
)
def test_every_state_fills_the_screen_exactly(name: str, width: int, height: int) -> None:
    lines = ScreenRenderer().screen(session_of(name), width, height)
    assert len(lines) == height
    for line in lines:
        assert sum(cells_of(part) for _, part in line) == width
        assert all(part.isprintable() for _, part in line)


WILD = "a" + "".join(map(chr, [*range(32), *range(127, 160), 0x202E, 0x2066, 0x2028, 0xFEFF])) + "z"


@pytest.mark.parametrize("name", few(STATES, of=2))
def test_names_that_others_give_are_never_obeyed(name: str, tmp_path: Path) -> None:
    """A model's, a session's, a file's: whatever says them, a download, a session or the file system."""
    session = session_of(name)
    about = replace(HEADER, architecture=WILD, name=WILD, quantization=WILD)
    place = ModelOnDisk(WILD, WILD, tmp_path / "a.gguf")
    session = replace(
        session,
        game=replace(
            session.game,
            health=replace(session.game.health, fault=WILD),
            settings=replace(
                session.game.settings, model=type(session.game.settings.model)(f"/{WILD}/{WILD}.gguf"), example=WILD
            ),
            model=session.game.model
            and replace(session.game.model, name=WILD, architecture=WILD, quantization=WILD, server=WILD),
        ),
        name=WILD,
        notice=WILD,
        models=tuple(catalogue.listed(CatalogueEntry(place, 5, each)) for each in (about, WILD)),
        starters=(Starter(WILD, WILD),),
    )
    for width, height in SIZES:
        for line in ScreenRenderer().screen(session, width, height):
            assert sum(cells_of(part) for _, part in line) == width
            assert all(part.isprintable() for _, part in line)


@pytest.mark.parametrize("name", STATES)
def test_every_style_is_one_of_the_themes(name: str) -> None:
    play = STATES[name]()
    for keys in ((), (Action.LAYER,), (Action.LAYER,)):
        styles = {style for line in draw(play.press(*keys)) for style, _ in line}
        assert {part.removeprefix("class:") for style in styles for part in style.split()} <= KNOWN


# --- arrangement


def test_from_100_columns_prompt_and_table_stand_side_by_side() -> None:
    wide, narrow = text(started(), 100, 24).splitlines(), text(started(), 99, 24).splitlines()
    assert "│" in wide[1]
    assert "rank token" in wide[1]
    assert not any("│" in line for line in narrow)
    assert any(line == "─" * 99 for line in narrow)


def test_below_60x16_the_screen_says_so() -> None:
    for width, height in ((59, 40), (80, 15)):
        lines = text(started(), width, height).splitlines()
        assert lines[0].startswith("tokex-gguf needs 60x16 cells,"[: width - 1])
        assert not any(ScreenRenderer().hit(started().session, width, height, 5, y) for y in range(height))
        assert [line.strip() for line in lines[1:3]] == [f"not {width}x{height}.", "ctrl+q quits"]
        assert not any(line.strip() for line in lines[3:])


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_selected_row_is_always_on_the_screen(width: int, height: int) -> None:
    play = started()
    for _ in range(30):
        shown = [line for line in draw(play, width, height) if any(style == "class:selected" for style, _ in line)]
        assert len(shown) == 1
        play.press(Action.DOWN)


def test_a_long_prompt_shows_its_tip() -> None:
    play = started("x" * 1000)
    play.session.game.known.pieces.update({token: Piece(b"word ") for token in range(64)})
    play.session.game.known.pieces[play.session.game.prompt.tip.token] = Piece(b"TIP")
    for width, height in SIZES:
        assert "TIP" in text(play, width, height)


def test_the_text_shows_while_the_model_loads() -> None:
    play = Play("first line\nsecond line")
    play.take(Loading(0.45))
    drawn = text(play)
    assert "first line⏎" in drawn
    assert "second line" in drawn
    assert "fake.gguf" in drawn
    assert "working  loading the model  45 %" in drawn


# --- the table


def test_the_table_has_rank_token_probability_bar_and_id() -> None:
    play = started()
    path = play.session.game.prompt.tip.path()
    best = fake.ranked(path)[0]
    row = text(play).splitlines()[2].split("│")[1].split()
    assert row[0] == "1"
    assert row[1] == fake.PIECES[best].data.decode().replace(" ", "␣")
    assert float(row[2]) == pytest.approx(pow(2.718281828, fake.logprobs(path)[best]), abs=1e-4)
    assert row[-1] == str(best)


def test_white_space_is_visible_and_controls_never_raw() -> None:
    play = started()
    best = fake.ranked(play.session.game.prompt.tip.path())[:4]
    for token, data in zip(best, (b" a\n\tb", b"\x1b[31m", b"", b"<|end|>"), strict=True):
        play.session.game.known.pieces[token] = Piece(data, control=data == b"<|end|>")
    drawn = text(play)
    for expected in ("␣a⏎⇥b", "␛[31m", "‹empty›", "<|end|>"):
        assert expected in drawn


def test_while_an_answer_is_awaited_the_old_table_stays_dimmed() -> None:
    play = waiting(Action.DOWN, Action.APPEND)
    rows = [line for line in draw(play) if any("class:selected" in style for style, _ in line)]
    assert len(rows) == 1
    assert any("class:dim" in style for style, _ in rows[0])
    assert "working  5/6 tokens" in text(play)
    assert "ready" not in text(play)


def test_the_table_that_stays_has_the_columns_and_marks_that_it_had() -> None:
    play = Play("hello", lookahead=3, lookahead_tokens=40).answer().press(Action.APPEND, Action.POP)
    for _ in range(20):  # to one whose table is not known ahead, and is not yet
        play.take(Action.DOWN)
    before = text(play, 160)
    assert re.search(r"rank .*\bahead\b", before) and "• " in before
    play.take(Action.APPEND)
    assert not play.session.game.ready
    rows = [[line[80:] for line in drawn.splitlines()[1:30]] for drawn in (before, text(play, 160))]
    changed = [(was, now) for was, now in zip(*rows, strict=True) if was != now]
    assert [(was, now.replace("•", " ")) for was, now in changed] == [(was, was) for was, _ in changed]
    assert len(changed) == 1, "the one that was appended has been visited"


def test_numbers_and_bars() -> None:
    assert [number(p) for p in (1.0, 0.97312, 0.0001, 0.0000999, 3.1e-20, 1.25e-105)] == [
        "1.0000", "0.9731", "0.0001", "1.0e-04", "3.1e-20", "1e-105",
    ]  # fmt: skip
    assert bar(1, 4) == "████"
    assert bar(0.5, 4) == "██  "
    assert bar(0.03125, 4) == "▏   "
    assert bar(0, 4) == "    "


# --- status


def test_the_status_line_tells_prompt_tokens_logprob_perplexity_and_cost() -> None:
    play = started().press(Action.COPY, Action.APPEND)
    tip = play.session.game.prompt.tip
    line = below(text(play)).status
    assert "Prompt 2/2  tokens: 6" in line
    assert f"logprob {tip.logprob:.2f}" in line
    assert f"ppl {tip.perplexity:.2f}" in line
    assert "1 token, 1 ms  ready" in line
    assert "logprob" in below(text(play, 80, 24)).status


def test_where_one_looks_is_told_before_what_it_cost() -> None:
    play = started("hello world " * 20).press(Action.CURSOR_BACK)
    play.session = replace(play.session, game=replace(play.session.game, cost=Cost(12345, 123.4)))
    assert "12,345 tokens, 123400 ms  ready" in below(text(play, 130, 40)).status
    line = below(text(play, 60, 16)).status
    assert "looking at 240" in line and line.endswith("  ready ") and "12345" not in line
    playing = started()
    playing.take(Action.AUTOPLAY)
    assert "working  autoplay, space stops it" in below(text(playing, 60, 16)).status
    assert (45, "space", "stop") in hints(playing.session)


def test_the_header_names_the_model_and_the_context() -> None:
    line = text(started()).splitlines()[0]
    assert "tokex-gguf" in line
    assert "Fake · fake · Q4_0" in line
    assert "context 5/4096" in line


def test_a_prompt_with_more_tokens_than_cells_shows_what_there_can_be() -> None:
    play = started("hello")
    model = play.session.game.model
    assert model
    limit = replace(model, context_limit=8192)
    for context, told in ((5, "context 5/5 "), (4, "context 5/8192 "), (4096, "context 5/4096 ")):
        game = replace(play.session.game, model=limit, context=context)
        play.session = replace(play.session, game=game)
        assert told in text(play).splitlines()[0]


def test_esc_closes_the_help_also_where_something_is_typed() -> None:
    play = started().press(Action.HELP)
    assert "Esc close" in below(text(play)).keys
    assert "Esc close" in below(text(play.press(Typed("x")))).keys


def test_a_dead_engine_a_full_context_and_a_failure_are_told() -> None:
    broken = dead()
    assert "the engine stopped (SIGSEGV)" in text(broken)
    assert "r restarts it" in text(broken.press(Action.DOWN))
    assert "context full (5/5)" in text(full())
    failed = waiting(Action.APPEND)
    failed.take(Failed(failed.session.counts.requests, "code -3"))
    assert "no answer" in text(failed.press(Action.UP))


def test_a_notice_stands_in_place_of_the_legend() -> None:
    play = started().press(Action.LAYER, Action.REMOVE)
    assert "the only prompt stays" in text(play)
    assert "probability 0" not in text(play)


# --- layers


def styles_of(play: Play, layer: Layer) -> list[str]:
    """The style of each token of a prompt that fits into the screen."""
    while play.session.options.layer is not layer:
        play.take(Action.LAYER)
    spans = prompt_pane.PromptPane().lines(play.session, shown(play.session), 100, 30)
    return [style for line in spans for style, part in line if part.strip()]


def test_the_first_token_is_never_coloured() -> None:
    play = started("hello")
    for layer in (layers.PROBABILITY, layers.ENTROPY):
        assert styles_of(play, layer)[0].strip() == ""
        assert layer.of(play.session.game.prompt.tip.nodes()[0], fake.VOCAB) is None


def test_probability_colours_each_token_by_its_own_probability() -> None:
    play = started("hello")
    nodes = play.session.game.prompt.tip.nodes()
    nodes[2].taken = TokenLogprob(0.0, 1)
    nodes[3].taken = TokenLogprob(-50.0, 60)
    styles = styles_of(play, layers.PROBABILITY)
    assert styles[2] == "class:probability.31"
    assert styles[3] == "class:probability.0"


def test_entropy_colours_each_token_by_the_distribution_it_was_drawn_from() -> None:
    play = started("hello")
    nodes = play.session.game.prompt.tip.nodes()
    expected = fake.distribution([nodes[0].token], 30).entropy_bits / 6
    value = layers.ENTROPY.of(nodes[1], fake.VOCAB)
    assert value == pytest.approx(expected)


def test_plain_colours_nothing_and_dims_special_tokens() -> None:
    play = started("hello")
    first = play.session.game.prompt.tip.nodes()[0].token
    play.session.game.known.pieces[first] = Piece(b"<s>", control=True)
    styles = styles_of(play, layers.PLAIN)
    assert styles[0].strip() == "class:dim"
    assert all(style.strip() in ("", "class:tip") for style in styles[1:])


def test_each_layer_has_a_legend_with_its_scale() -> None:
    play = started()
    for name in ("probability", "entropy"):
        play.press(Action.LAYER)
        legend = draw(play)[-3]
        assert f"{name} 0 " in "".join(part for _, part in legend)
        shades = [style for style, _ in legend if style.startswith(f"class:{name}.")]
        assert len(set(shades)) == 16


def test_colours_come_chunk_by_chunk() -> None:
    play = Play("hello world")
    for _ in range(2):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    (request,) = play.asked
    assert isinstance(request, Evaluate)
    play.take(fake.evaluated(request, 0, 4))
    styles = styles_of(play, layers.PROBABILITY)
    assert [style.startswith("class:probability") for style in styles[:7]] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


# --- keys on the screen


def test_the_help_shows_every_key() -> None:
    drawn = text(started().press(Action.HELP), 200, 120)
    for command in SCREENS[screens.Play].commands:
        assert keys_of(command) in drawn
        assert command.help in drawn


@pytest.mark.parametrize(
    ("kind", "width", "height"),
    few(
        [
            *((screens.Play, 80, 24), (screens.Input, 60, 16), (screens.TreeScreen, 130, 40)),
            *((screens.Input, 80, 24), (screens.TreeScreen, 60, 16), (screens.Play, 130, 40)),
            *((screens.TreeScreen, 80, 24), (screens.Play, 60, 16), (screens.Input, 130, 40)),
        ],
        of=9,
    ),
)
@pytest.mark.thorough
def test_every_key_moves_the_help_and_its_selection_is_on_the_screen(
    kind: type[Screen], width: int, height: int
) -> None:
    opened = {screens.Input: (Action.INPUT,), screens.TreeScreen: (Action.TREE,)}
    play = started().press(*opened.get(kind, ()), Action.HELP)
    entries = [(entry.name, entry.text) for entry in help_entries(kind)]

    def selected() -> str:
        lines = ["".join(part for _, part in line) for line in draw(play, width, height) if "selected" in line[0][0]]
        return " ".join(" ".join(lines).split())

    for name, told in entries:
        assert selected() == f"{name} {told}"
        play.press(Action.DOWN)
    for name, told in reversed(entries):
        assert selected() == f"{name} {told}"
        play.press(Action.UP)
    play.press(Action.BOTTOM, Action.PAGE_DOWN, Action.UP)
    assert selected() == " ".join(entries[-2])
    play.press(Action.TOP)
    assert selected() == " ".join(entries[0])


@pytest.mark.parametrize("kind", SCREENS)
def test_the_footer_shows_the_keys_of_the_screen(kind: type[Screen]) -> None:
    names = {"search": "searching", "input": "typing", "find": "finding", "play": "ready", "answerlist": "answers"}
    name = kind.__name__.removesuffix("Screen").lower()
    play = STATES[names.get(name, name)]()
    assert type(play.session.screen) is kind
    line = below(text(play, 300, 40)).keys
    for _, keys, word in hints(play.session):
        assert f"{keys} {word}" in line


def test_the_footer_speaks_of_other_prompts_where_there_are_some() -> None:
    play = started()
    assert not re.search("w/s prompt|a drop", below(text(play, 300)).keys)
    assert re.search("w/s prompt .*a drop", below(text(play.press(Action.COPY), 300)).keys)


def test_the_footer_has_nothing_that_needs_an_engine_where_there_is_none() -> None:
    needs = "space play|/ search|i type"
    assert len(re.findall(needs, below(text(started(), 300)).keys)) == 3
    play = dead()
    keys = below(text(play, 300)).keys
    assert not re.search(needs, keys) and "r restart engine" in keys
    for key in (Action.AUTOPLAY, Action.SEARCH, Action.INPUT):
        assert play.press(key).session.notice == "the engine is not there: r restarts it"


def test_the_footer_has_nothing_for_an_empty_chain_or_for_no_phrases() -> None:
    play = started().press(Action.SAMPLERS)
    assert not re.search("row|remove", below(text(play, 300)).keys)
    for key in (Action.DOWN, Action.REMOVE):
        assert play.press(key).session.notice.startswith("the chain is empty: Enter puts")
    assert re.search("row.*remove", below(text(play.press(Action.ENTER), 300)).keys)
    play = started().press(Action.INPUT, Typed("c"))
    assert "clear scores" not in below(text(play, 300)).keys
    assert play.press(Action.CLEAR_SCORES).session.notice == "no phrases were scored"
    assert "clear scores" in below(text(play.press(Action.SCORE), 300)).keys


def test_the_footer_has_no_value_to_type_where_the_chain_has_none() -> None:
    play = started()
    for amount, there in ((1.0, False), (0.0, True)):
        game = play.session.game
        sampling = replace(game.sampling, chain=DEFAULT.biased(3, amount))
        play.session = replace(play.session, game=replace(game, sampling=sampling))
        play.press(Action.SAMPLERS, Action.TOP)
        assert ("type" in below(text(play, 300)).keys) is there
        play.press(Action.CLOSE)


@pytest.mark.parametrize(
    "opened",
    [
        lambda: started().press(Action.PROMPTS, Action.FILTER),
        lambda: started().press(Action.TREE, Action.FILTER),
        sessions,
        lambda: started().press(Action.COMMANDS),
        lambda: started().press(Action.HELP),
    ],
)
def test_the_footer_has_nothing_to_do_with_what_was_not_found(opened: Callable[[], Play]) -> None:
    play = opened()
    does = r"row|select|Enter|page|\^d"
    assert re.search(does, below(text(play, 300)).keys)
    play.press(*map(Typed, "zzz"))
    keys_told = below(text(play, 300)).keys
    assert not re.search(does, keys_told) and "Esc" in keys_told
    play.press(Action.ERASE_LINE)
    assert re.search(does, below(text(play, 300)).keys)


def test_the_footer_still_has_enter_for_the_number_of_a_token() -> None:
    play = started().press(Action.COMMANDS, *map(Typed, "0002"))
    keys = below(text(play, 300)).keys
    assert "Enter do" in keys and "row" not in keys


def test_the_footer_shows_what_the_keys_do_while_looking_back() -> None:
    play = started().press(Action.CURSOR_BACK)
    line = below(text(play)).keys
    assert "→ branch" in line and "Esc end" in line
    assert not any(word in line for word in ("pop", "append", "play"))
    line = below(text(play.press(Action.CURSOR_TIP))).keys
    assert "→ append" in line and "← pop" in line and "space play" in line and "Esc" not in line
    line = below(text(play.press(Action.CURSOR_FIRST))).keys
    assert not any(word in line for word in ("→", "↑", "search", "type")), "nothing comes before it"


@pytest.mark.parametrize("keys", [(), (Action.CURSOR_BACK,)])
def test_on_80_columns_there_is_room_for_what_is_done_most(keys: tuple[Action, ...]) -> None:
    line = below(text(started().press(*keys), 80, 24)).keys
    for hint in (",/. look", "n/m jump", "/ search", "i type", "e colour", "? help", "^q quit", "↑↓ row", "→ "):
        assert hint in line


def test_the_status_line_is_that_of_the_path_which_is_shown() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Action.APPEND, Action.POP, Action.TREE)
    assert "Prompt 2/2  tokens: 6" in below(text(play)).status
    play.press(Action.TOP)
    assert "Prompt 1/2  tokens: 5" in below(text(play)).status
    play.press(Action.DOWN, Action.DOWN)
    assert "a visited path  tokens: 7" in below(text(play)).status
    end = selected_end(play.session)
    assert end.taken and f"p {number(end.taken.prob)}" in below(text(play)).second
    play.press(Action.CLOSE, Action.PROMPTS, Action.UP)
    assert "Prompt 1/2  tokens: 5" in below(text(play)).status
    play.session = replace(play.session, starters=(Starter("one", "Once"),), screen=screens.Prompts(row=2))
    assert " a text to start with " in below(text(play)).status


def test_a_phrase_that_is_being_scored_is_waited_for() -> None:
    play = started("hello")
    play.press(Action.INPUT)
    play.take(Typed("c"))
    play.take(Action.SCORE)
    assert "working  scoring" in below(text(play)).status
    assert "goes on after" not in text(play)
    assert play.answer().session.game.results.scores and " ready " in below(text(play)).status


def test_the_progress_is_that_of_the_text_which_is_waited_for() -> None:
    play = started().press(Action.INPUT)
    play.take(Typed("there" * 4))
    (spelt,) = play.replies(play.asked.pop())
    play.take(spelt)
    request = play.asked[-1]
    assert isinstance(request, Evaluate) and request.start == 5
    assert "working  5/25 tokens" in below(text(play)).status
    play.take(fake.evaluated(request, 5, 15))
    assert "working  15/25 tokens" in below(text(play)).status


def test_a_layer_is_worked_on_only_while_it_is_shown() -> None:
    play = started().press(Action.LAYER)
    lens = Sampled(NO_CHAIN, Constraint(ConstraintKind.REGEX, "a*"), 1)
    purpose = ForVerdicts(tuple(play.session.game.prompt.tip.nodes()), 0, lens)
    play.session = replace(play.session, game=replace(play.session.game, open_requests={1: purpose}))
    assert " ready" in below(text(play)).status
    play.session = replace(play.session, options=replace(play.session.options, layer=layers.COST))
    assert "working  layer cost" in below(text(play)).status


def test_what_is_typed_at_an_inner_place_has_the_numbers_of_that_place() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.INPUT, Typed("x"))
    base = on(play.session, screens.Input).base
    assert base.depth == 3 and base.logprob is not None
    line = below(text(play)).status
    assert "tokens: 3  +1  joint p" in line and f"logprob {base.logprob:.2f}" in line
    assert "Enter branch" in below(text(play)).keys
    assert "→ branch" in below(text(play.press(Action.CLOSE, Action.SEARCH))).keys
    assert "tokens: 5  looking at 4 " in below(text(play)).status, "the text behind it stays in sight"


def test_two_spaces_in_a_row_are_told_before_and_after_the_phrase_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    for char, data in (("o", b"Answer: "), (" ", b" ")):
        monkeypatch.setitem(fake.PIECES, fake.text_to_path(char)[0], Piece(data))
    play = started("hello").press(Action.INPUT, Typed("7"))
    assert "space" not in below(text(play)).second
    play.press(Action.ERASE_LINE, Typed(" 7"))
    assert "there is a space before it already" in below(text(play)).second
    assert "mind that there was a space before it already" in play.press(Action.SCORE).session.notice


def test_enter_without_a_text_says_that_nothing_is_appended() -> None:
    play = started("hello").press(Action.INPUT, Action.ENTER)
    assert isinstance(play.session.screen, screens.Play) and "nothing is appended" in play.session.notice


@pytest.mark.parametrize("width", [80, 130])
def test_open_prompts_that_begin_alike_show_where_they_differ(width: int) -> None:
    play = started("hello world, how are you? " * 8)
    length = play.session.game.prompt.tip.depth
    play.press(
        Action.COPY, *[Action.POP] * 90, Action.DOWN, *[Action.APPEND] * 20, Action.COPY, Action.POP, Action.DOWN
    )
    play.press(Action.APPEND, Action.APPEND, Action.PROMPTS)
    tips = [prompt.tip for prompt in play.session.game.prompts]
    starts = [max(tip.common(other) for other in tips if other is not tip) for tip in tips]
    assert len(tips) == 3 and all(length - 95 < start < tip.depth for start, tip in zip(starts, tips, strict=True))
    rows = [line for line in text(play, width, 24).splitlines() if " tok " in line]
    begins = []
    for row, tip, start in zip(rows, tips, starts, strict=True):
        own = tip.nodes(start)[:1]
        shown = "".join(fake.PIECES[node.token].data.decode() for node in own).replace(" ", "␣", 1)
        begins.append(row.index(shown, row.index("…") + 2))
        assert row.split(" tok")[0].split()[-2:] == [str(start + 1), str(tip.depth)]
    assert len(set(begins)) == 1, "what is different begins in one column"
    assert "length   logprob" in text(play, width, 24)


def test_a_prompt_that_is_the_beginning_of_another_one_shows_its_end() -> None:
    play = started("hello world, how are you? " * 8).press(Action.COPY, *[Action.POP] * 5, Action.PROMPTS)
    row = next(line for line in text(play, 80, 24).splitlines() if line.startswith("› 2 "))
    last = play.session.game.prompt.tip.nodes()[-4:]
    assert " ".join(fake.PIECES[node.token].data.decode().strip() for node in last) in row and "…" in row


@pytest.mark.parametrize("key", [Action.NEXT_ENTROPY, Action.HIGHEST_ENTROPY])
def test_what_was_sought_is_told_beside_any_layer(key: Action) -> None:
    play = started("hello world, how are you").press(key)
    for _ in range(6):
        assert "entropy " in below(text(play, 80, 24)).second
        play.press(Action.LAYER).press(Action.MORE_LAYERS)


def test_what_a_key_cost_is_not_told_of_the_next() -> None:
    play = started("hello")
    assert "5 tokens, 5 ms" in below(text(play)).status
    assert "known, 0 tokens" in below(text(play.press(Action.LAYER))).status


def test_a_search_tells_where_spaces_count() -> None:
    play = started("hello").press(Action.SEARCH, Typed(" 9"))
    assert "spaces count in quotes" in below(text(play)).second
    assert "quotes" not in below(text(play.press(Action.ERASE_LINE, Typed('" 9"')))).second


@pytest.mark.parametrize(
    ("mode", "signs"),
    [
        (Action.TREE, ["first p", "joint p"]),
        (Action.INPUT, ["share", "odds", "after …"]),
        (Action.SEARCH, ["In double quotes"]),
    ],
)
def test_the_help_of_a_mode_tells_what_stands_on_its_screen(mode: Action, signs: list[str]) -> None:
    drawn = text(started().press(mode, Action.HELP), 130, 40)
    assert all(sign in drawn for sign in signs)


@pytest.mark.parametrize("width", [80, 130])
def test_what_surprised_is_told_at_every_width_also_beside_a_legend(width: int) -> None:
    play = started("hello world, how are you").press(Action.NEXT_SURPRISAL)
    for _ in range(4):
        line = below(text(play, width, 24)).second
        assert re.search(r"surprisal [\d.]+ bits #\d", line), line
        play.press(Action.MORE_LAYERS)


def test_the_numbers_of_the_tip_are_told_like_those_of_any_token() -> None:
    play = started("hello")
    tip = play.session.game.prompt.tip
    assert tip.taken and tip.distribution
    line = below(text(play)).second
    numbers = f"p {number(tip.taken.prob)}  rank {tip.taken.rank}  next: entropy"
    assert f"last token {label(fake.PIECES[tip.token].data)}  {numbers}" in line
    values = [part for style, part in draw(play)[-3] if style == ""]
    assert number(tip.taken.prob) in values and f"{tip.distribution.entropy_bits:.2f} bits" in values


@pytest.mark.parametrize("width", range(40, 131, 5))
def test_the_last_tokens_rank_stands_beside_it_or_not_at_all(width: int) -> None:
    play = started("hello")
    tip = play.session.game.prompt.tip
    tip.checked, tip.differs = True, 3
    for _ in range(4):
        line = below(text(play, width, 24)).second
        assert "rank" not in line or "last token" in line, line
        play.press(Action.LAYER)


def test_the_chance_of_all_other_tokens_is_told_of_the_selected_row() -> None:
    play = started("hello")
    line = below(text(play, 80, 24)).second
    place = play.session.game.prompt.place
    first, second = table(play.session, place)[:2]
    name = label(fake.PIECES[first.token].data)
    assert f"all but “{name}”: {percent(1 - first.prob)}" in line
    line = below(text(play.press(Action.DOWN), 80, 24)).second
    assert f"all but “{label(fake.PIECES[second.token].data)}”: {percent(1 - second.prob)}" in line
    assert percent(1 - first.prob) != percent(1 - second.prob)


def test_it_is_not_told_of_another_place_that_a_list_shows() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Action.TREE)
    told = ["all but" in below(text(play, 130, 40)).second]
    told += ["all but" in below(text(play.press(Action.UP), 130, 40)).second for _ in range(4)]
    assert told[0] and not all(told), "of the tip that is played alone"


@pytest.mark.parametrize("keys", [(), (Action.SAMPLERS,)])
def test_through_samplers_the_chance_of_all_others_is_told_raw_and_final(keys: tuple[Action, ...]) -> None:
    play = through(Chain((Sampler.of(Kind.TOP_K, 3),))).press(*keys)
    (top,) = table(play.session, play.session.game.prompt.place)[:1]
    assert play.session.view
    final = play.session.view.verdicts[top.token].final
    assert final > top.prob
    line = below(text(play, 80, 24)).second
    assert f": {percent(1 - top.prob)} raw, {percent(1 - final)} final" in line


def test_of_a_scored_phrase_it_is_said_which_sampler_cuts_which_token() -> None:
    ranked = [fake.PIECES[token].data.decode() for token in fake.ranked([ord(char) % fake.VOCAB for char in "hello"])]
    play = through(Chain((Sampler.of(Kind.TOP_K, 3), Sampler.of(Kind.TEMPERATURE, 0.7))))
    play.press(Action.INPUT, Typed(chr(ord(ranked[5].strip()[0]))), Action.SCORE)
    (line,) = [line for line in text(play, 80, 24).splitlines() if "←" in line]
    tip = play.session.game.results.scores[-1].tip
    assert tip.taken and tip.taken.rank > 3 and line.rstrip().endswith("← top-k cuts")
    play = started().press(Action.INPUT, Typed(ranked[5].strip()), Action.SCORE)
    assert "cuts" not in text(play, 80, 24)


def test_a_token_that_is_cut_leaves_all_to_the_others() -> None:
    play = through(Chain((Sampler.of(Kind.TOP_K, 3),))).press(*[Action.DOWN] * 3)
    assert "100.0 % final" in below(text(play, 80, 24)).second


def test_a_search_without_result_at_an_inner_place_does_not_speak_of_the_first_token() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.SEARCH, Typed("no such text"))
    assert "first token" not in text(play) and "no token has this" in text(play)
    assert "the first token is given" in text(started("hello").press(Action.CURSOR_FIRST))


def test_the_table_stays_while_a_search_begins() -> None:
    play = started("hello")
    before = [line.split("│")[1] for line in text(play).splitlines()[2:31]]
    play.take(Action.SEARCH)
    assert on(play.session, screens.SearchScreen).rows is None
    assert [line.split("│")[1].replace("·", " ") for line in text(play).splitlines()[2:31]] == [
        line.replace("·", " ") for line in before
    ]
    play.take(Action.APPEND)
    assert play.session.notice == "still searching"
    play.answer()
    assert "64 found" in text(play.press(Typed(" ")))


def test_the_bar_of_the_selected_row_is_drawn_on_the_selected_line() -> None:
    (row,) = [line for line in draw(started()) if any("class:selected" in style for style, _ in line)]
    right = row[[part for _, part in row].index(" │ ") + 1 : -1]
    assert right[-1][1].strip() and all("class:selected" in style for style, _ in right)
    assert any("class:bar" in style and "█" in part for style, part in right)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_scores_are_whole_at_every_size(width: int, height: int) -> None:
    play = started("hello").press(Action.INPUT)
    for phrase in ("c", " a b", "d", "abcdefgh"):
        play.press(Typed(phrase), Action.SCORE)
    drawn = text(play, width, height)
    assert len(re.findall(r"\d\.\d%", drawn)) == (2 if height == 16 else 4)
    assert ("… 2 more phrases" in drawn) == (height == 16)
    assert not re.search(r"rank [\d.]*…", drawn)
    assert ("← weakest" in drawn) != (" weakest of 8 in " in drawn), "where room is short, at least that"
    assert not re.search(r"[█▏▎▍▌▋▊▉]…", drawn)


def test_the_weakest_token_of_a_phrase_of_wide_characters_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fake.PIECES, fake.text_to_path("c")[0], Piece(("漢字" * 8).encode()))
    play = started("hello").press(Action.INPUT, Typed("c" * 12), Action.SCORE)
    for width in (60, 100, 110, 120):
        (line,) = [line for line in text(play, width, 16).splitlines() if "weakest" in line]
        assert re.search(r"rank \d+ *$", line), line


@pytest.mark.parametrize("mark", ["\u0301", "\u1161", "\u3164", "\u0301\u0302"])
def test_a_token_of_marks_alone_is_seen_where_it_is_looked_at(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fake.PIECES, fake.text_to_path("l")[0], Piece(mark.encode()))
    play = started("hello")
    for depth in (5, 4, 3, 2, 1):
        play.press(Action.CURSOR_BACK)
        drawn = draw(play, 60, 16)
        looked_at = [part for line in drawn[:6] for style, part in line if style == "class:cursor"]
        assert len(looked_at) == 1 and cells_of(looked_at[0]) > 0, depth
        assert {width_of(line) for line in drawn} == {60}


@pytest.mark.parametrize("action", [Action.INPUT, Action.CONSTRAINT])
def test_the_caret_is_seen_on_what_has_no_cell_of_its_own(action: Action) -> None:
    typed = "\u0301xe\u0301\u0302y\u1112\u1161z\u0e33" + "e\u0301" * 60
    play = started("hello").press(action, Typed(typed))
    for _ in range(len(typed) + 1):
        drawn = draw(play, 60, 16)
        carets = [part for line in drawn for style, part in line if style == "reverse"]
        assert len(carets) == 1 + (action is Action.CONSTRAINT) and all(map(cells_of, carets))
        assert {width_of(line) for line in drawn} == {60}
        play.press(Action.CARET_LEFT)


@pytest.mark.parametrize(
    "common", [[" word"] * 12, ["漢字"] * 20, ["🙂"] * 40, ["\u0e01\u0e33"] * 30, ["e\u0301"] * 70]
)
@pytest.mark.parametrize("width", [45, 59, 63])
def test_where_two_models_part_is_in_sight(common: list[str], width: int) -> None:
    pieces = {token: Piece(told.encode()) for token, told in enumerate([*common, " LEFT", " RIGHT"])}
    base = started().session.game.prompt.tip
    ways = [base, base]
    for token in range(len(common)):
        ways = [Node(way, token) for way in ways]
    a, b = Node(ways[0], len(common)), Node(ways[1], len(common) + 1)
    parting = Parting(a, b, (base.depth, base.depth), (pieces, pieces), True, (True, True))
    for which, end in enumerate(("␣LEFT", "␣RIGHT")):
        line = second._continuation_line(parting, which, width)
        assert line[-1] == ("class:stage", end) and width - 2 <= width_of(line) <= width
        assert line[1][1].startswith("…"), "and as much of what is common as has room"


def test_a_character_of_two_tokens_is_itself_where_two_models_go_on() -> None:
    pieces = dict(enumerate(map(Piece, (b"\xe6\xbc", b"\xa2", b" L", b" R"))))
    base = started().session.game.prompt.tip
    ways = [Node(Node(Node(base, 0), 1), last) for last in (2, 3)]
    for apart in (True, False):
        b = ways[1] if apart else ways[0]
        parting = Parting(ways[0], b, (base.depth, base.depth), (pieces, pieces), True, (True, True))
        assert "".join(part for _, part in second._continuation_line(parting, 0, 60)) == " A … 漢␣L"


@pytest.mark.parametrize("width", [80, 130])
@pytest.mark.parametrize("key", [Action.NEXT_ENTROPY, Action.NEXT_SURPRISAL])
def test_what_a_layer_colours_by_is_told_beside_its_legend(width: int, key: Action) -> None:
    play = started("hello world, how are you").press(key, Action.LAYER)
    assert re.search(r" p [\d.e-]+", below(text(play, width, 24)).second)
    play.press(Action.LAYER)
    assert re.search(r"entropy [\d.]+ bits #\d", below(text(play, width, 24)).second)


def pane(play: Play, width: int = 130, height: int = 40) -> list[str]:
    """The lines right of the prompt."""
    return [line.split("│")[-1].strip() for line in text(play, width, height).splitlines()]


def test_phrases_stand_below_the_place_that_they_were_scored_at() -> None:
    play = started("hello").press(Action.INPUT, Typed("c"), Action.SCORE, Action.CLOSE)
    play.press(Action.CURSOR_BACK, Action.INPUT)
    nodes = play.session.game.prompt.tip.nodes()
    here, end = (fake.PIECES[nodes[index].token].data.decode().strip() for index in (-2, -1))
    places = [line for line in pane(play) if line.startswith("after ")]
    assert [place[-1] for place in places] == [here, end], "the place that is typed at, then those of the phrases"
    assert pane(play)[pane(play).index(places[0]) + 1] == "no phrase was scored here yet"
    play.press(Typed("d"), Action.SCORE, Typed("e"), Action.SCORE, Action.CLOSE, Action.CURSOR_BACK)
    play.press(Action.INPUT, Typed("f"), Action.SCORE)
    lines = [line for line in pane(play) if line.startswith("after ") or "%" in line]
    assert [line.startswith("after ") for line in lines] == [True, False, True, False, False, True, False]
    values = [float(re.findall(r"([\d.]+)%", line)[0]) for line in lines if "%" in line]
    assert (values[0], values[3]) == (100.0, 100.0) and values[1] + values[2] == pytest.approx(100, abs=0.11)
    assert values[1] >= values[2]
    assert ["best" in line for line in lines if "%" in line] == [True, True, False, True]
    assert "°" not in text(play, 130, 40)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("places", [2, 4])
def test_phrases_of_several_places_are_told_at_every_size(width: int, height: int, places: int) -> None:
    play = started("hello")
    for _ in range(places):
        play.press(Action.CURSOR_BACK, Action.INPUT)
        for phrase in "cdef":
            play.press(Typed(phrase), Action.SCORE)
            lines = pane(play, width, height)
            shown = sum("%" in line for line in lines)
            left = [int(line.split()[1]) for line in lines if "more phrase" in line]
            assert shown and shown + sum(left) == len(play.session.game.results.scores)
            assert not any(one.startswith("after ") and "%" not in other for one, other in pairwise(lines)), (
                "no place stands there without its phrases"
            )
            assert any("weakest" in line or line.endswith("rank") for line in lines), "the tokens of the last one"
        play.press(Action.CLOSE)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_typed_text_comes_after_is_told(width: int, height: int) -> None:
    play = started("hello world, how are you").press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.INPUT)
    before = play.session.game.prompt.tip.nodes()[-4:-2]
    lines = [line.split("│")[-1] for line in text(play, width, height).splitlines()]
    told = lines[next(row for row, line in enumerate(lines) if "goes on after" in line) + 1]
    assert told.strip().endswith("".join(fake.PIECES[node.token].data.decode() for node in before).strip())
    assert "look back, then i." in text(play, width, height)


def test_words_are_parted_by_blanks_and_blanks_that_could_be_overlooked_are_marked() -> None:
    play = started("hello").press(Action.INPUT, Typed("abc"), Action.SCORE)
    for token, data in zip(fake.text_to_path("abc"), (b" one", b" two ", b" three\n"), strict=True):
        play.session.game.known.pieces[token] = Piece(data)
    assert "␣one two␣␣three⏎ " in text(play, 99)


def test_a_token_inside_a_character_shows_its_cursor_where_the_character_is() -> None:
    play = started("hello")
    for node, data in zip(play.session.game.prompt.tip.nodes()[1:3], (b"\xf0\x9f", b"\x99\x82"), strict=True):
        play.session.game.known.pieces[node.token] = Piece(data)
    for position in (1, 2):
        play.press(PointedAtToken(position))
        marked = [part for line in draw(play) for style, part in line if "class:cursor" in style]
        assert marked == ["🙂"]


@pytest.mark.parametrize("keys", [(), (Action.CURSOR_BACK,)])
def test_a_path_that_is_not_the_tokenizers_own_is_told_also_while_looking_back(keys: tuple[Action, ...]) -> None:
    play = started("hello").press(*keys)
    assert "tokenizer" not in text(play)
    play.session.game.prompt.tip.differs = 2
    assert "split unlike the tokenizer from token 3 on" in text(play, 150)


def test_the_header_keeps_its_parts_apart_where_room_is_short() -> None:
    play = started()
    assert play.session.game.model
    play.session = replace(
        play.session, game=replace(play.session.game, model=replace(play.session.game.model, name="a long name " * 9))
    )
    assert "…  context 5/4096" in text(play, 60, 16).splitlines()[0]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_long_notice_leaves_room_for_what_is_typed(width: int, height: int) -> None:
    play = waiting(Action.INPUT, Typed("hello there"))
    play.session = replace(play.session, notice="the engine stopped, " * 30)
    drawn = text(play, width, height)
    assert any(line.startswith(" go on with: hello there") for line in drawn.splitlines())
    assert "the engine stopped" in below(drawn).keys


def test_where_text_is_typed_a_dead_engine_says_how_to_leave_it_first() -> None:
    play = waiting(Action.INPUT, Typed("hello"))
    play.take(EngineDied("SIGKILL"))
    assert "engine stopped: Esc, then r, restarts it" in text(play, 80, 24) and "hello" in text(play, 80, 24)


# --- where one is


def rule(play: Play, width: int, height: int) -> str:
    """What parts prompt and table, from the prompt's beginning to its end."""
    lines = text(play, width, height).splitlines()
    if width >= 100:
        column = len(lines[1]) - min(64, 30 + width // 6) - 2
        return "".join(line[column] for line in lines[1:-5])
    (line,) = [line for line in lines if set(line) <= {"─", "━"}]
    return line


@pytest.mark.parametrize(("width", "height"), few([(130, 40), (80, 24), (60, 30)], of=3))
def test_a_mark_on_the_rule_says_where_in_a_long_prompt_one_is(width: int, height: int) -> None:
    play = started("hello " * 600)
    at_the_end = rule(play, width, height)
    assert at_the_end[-1] in "┃━" and at_the_end[0] in "│─"
    middle = rule(play.press(Action.COMMANDS, Typed("1800"), Action.ENTER), width, height)
    marks = [index for index, mark in enumerate(middle) if mark in "┃━"]
    assert marks and abs((marks[0] + marks[-1]) / 2 / len(middle) - 0.5) < 0.06
    assert len(marks) < len(middle) / 2
    first = rule(play.press(Action.CURSOR_FIRST), width, height)
    assert first[0] in "┃━" and first[-1] in "│─"


@pytest.mark.parametrize(("width", "height"), [(130, 40), (80, 24)])
@pytest.mark.parametrize(
    "pieces", [{}, {"h": b"\xe6\xbc", "e": b"\xa2"}, {"h": b"", "o": b""}, dict.fromkeys("helo", b"")]
)
def test_a_prompt_that_is_seen_whole_has_no_mark(
    width: int, height: int, pieces: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where tokens show nothing: a character of several tokens is shown by its last one."""
    for char, data in pieces.items():
        monkeypatch.setitem(fake.PIECES, fake.text_to_path(char)[0], Piece(data))
    assert not set(rule(started("hello"), width, height)) & set("┃━")


# --- the first minute


@pytest.mark.parametrize(("width", "height"), [(130, 40), (80, 24), (60, 30)])
def test_a_beginner_is_told_three_things_until_the_first_key(width: int, height: int) -> None:
    play = beginning()
    lines = text(play, width, height).splitlines()
    for sentence in GREETING:
        assert any(sentence in line for line in lines)
    drawn = text(play.press(Action.DOWN), width, height)
    assert not any(sentence in drawn for sentence in GREETING)


def test_nothing_is_told_where_the_prompt_needs_the_room() -> None:
    play = started("hello " * 100)
    play.session = replace(play.session, begun=False)
    assert GREETING[0] not in text(play, 80, 24)


# --- numbers of the table


@pytest.mark.parametrize(("width", "height"), [(130, 40), (80, 24)])
def test_the_probability_of_the_rows_in_sight_is_told(width: int, height: int) -> None:
    play = started("hello").press(Resized(rows_of(width, height)))
    place = play.session.game.prompt.place
    rows = table(play.session, place)
    for keys in ((), (Action.PAGE_DOWN, Action.PAGE_DOWN), (Action.BOTTOM,)):
        play.press(*keys)
        drawn = text(play, width, height)
        (match,) = re.findall(r"ranks 1–(\d+): ([\d.]+) %", drawn)
        last = int(match[0])
        shown = [int(rank) for rank in re.findall(r"^(?:.*│)? ?[·•›]? +(\d+) ␣. ", drawn, re.MULTILINE)]
        assert last == max(shown)
        assert float(match[1]) == pytest.approx(100 * sum(row.prob for row in rows[:last]), abs=0.051)


@pytest.mark.parametrize("size", [(130, 60), (80, 80)])
def test_inside_a_prompt_it_is_said_that_no_more_rows_are_kept(size: tuple[int, int]) -> None:
    play = started("hello world", tokens_to_show=12).press(Resized(rows_of(*size)))
    assert "are kept" not in text(play, *size), "at its end there are as many as fit"
    play.press(Action.CURSOR_BACK)
    before = play.session.game.prompt.place.tip.distribution
    assert before and len(before) == 12
    assert "12 tokens are kept here: / finds any other" in text(play, *size)
    assert "are kept" not in text(play, size[0], 16), "where no more would fit, nothing is said"
    assert "are kept" not in text(play.press(Action.SEARCH), *size)


def test_rows_fill_the_height() -> None:
    play = started("hello").press(Resized(rows_of(130, 50)))
    drawn = text(play, 130, 50)
    assert len(re.findall(r"│ +[·•›]? +\d+ ␣", drawn)) == rows_of(130, 50) == 43


@pytest.mark.parametrize("highest", [1.0, 0.51, 0.5, 0.2, 0.11, 0.03, 0.001, 3e-7, 1e-30, 0.0])
def test_a_bar_of_full_length_is_no_more_than_two_and_a_half_times_the_highest(highest: float) -> None:
    scale = bar_scale(highest)
    assert highest <= scale <= 1
    assert scale <= 2.5 * highest * 1.001 or highest <= 1e-12


def test_the_head_says_what_a_bar_stands_for_where_that_is_not_one() -> None:
    play = started("hello")
    rows = table(play.session, play.session.game.prompt)
    scale = bar_scale(rows[0].prob)
    assert (f"to {scale:g}" in text(play, 80, 24)) == (scale < 1)


def test_two_to_the_entropy_stands_beside_it() -> None:
    play = started("hello")
    tip = play.session.game.prompt.tip
    assert tip.distribution
    assert f"2^H {2**tip.distribution.entropy_bits:.1f}" in text(play)
    play.press(Action.CURSOR_BACK)
    assert tip.parent and tip.parent.distribution
    assert f"2^H {2**tip.parent.distribution.entropy_bits:.1f}" in text(play, 180)


# --- what was chosen


def test_chosen_tokens_look_other_than_text() -> None:
    play = started("hello").press(Action.APPEND, Action.DOWN, Action.APPEND)
    styles = ["class:played" in style for style in styles_of(play, play.session.options.layer)]
    assert styles == [False] * 5 + [True] * 2
    play.press(Action.LAYER)
    assert ["class:played" in style for style in styles_of(play, play.session.options.layer)] == styles
    play.press(*[Action.PALETTE] * 2)
    assert play.session.options.palette is Palette.MONOCHROME
    assert not any("class:played" in style for style in styles_of(play, play.session.options.layer)), (
        "bold means loud there"
    )


def test_a_token_of_the_text_stays_one_when_it_is_popped_and_taken_back() -> None:
    play = started("hello").press(Action.POP, Action.APPEND, Action.INPUT, Typed("a"), Action.ENTER)
    assert not any(node.played for node in play.session.game.prompt.tip.nodes())


def test_branching_searching_and_autoplay_choose() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.TOP, Action.APPEND)
    assert play.session.game.prompt.tip.played
    play.press(Action.SEARCH, Typed("k"), Action.APPEND)
    assert play.session.game.prompt.tip.played
    play = started("hello", lookahead=5).press(Action.AUTOPLAY)
    played = play.session.game.prompt.tip.nodes(5)
    assert played and all(node.played for node in played)


def test_the_column_ahead_leaves_out_what_is_cut_and_says_where_it_is_raw() -> None:
    here = started("hello").session.game.prompt.tip.path()
    first, banned = fake.ranked(here)[:2]
    second, third = fake.ranked([*here, first])[:2]
    bans = ((banned, -math.inf), (second, -math.inf))

    def drawn(*samplers: Sampler) -> list[str]:
        play = Play("hello", lookahead=3, lookahead_tokens=60)
        sampling = Sampling(Chain(samplers, bans), None, 1)
        play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
        play.answer().press(Action.DOWN, Action.UP)
        return ["".join(part for _, part in line)[80:] for line in draw(play, 160)]

    for sampler, head in ((Sampler.of(Kind.TOP_K, 20), "ahead"), (Sampler.of(Kind.TYPICAL, 0.9), "ahead (raw)")):
        lines = drawn(sampler)
        at = next(line for line in lines if "ahead" in line).index("ahead")
        assert next(line[at:].strip() for line in lines if "ahead" in line) == head
        rows = [line for line in lines if re.match(r"[ ·•]\s+\d+ ", line)]
        assert rows[0][at:].strip().startswith(fake.PIECES[third].data.decode().strip())
        assert "logit bias" in rows[1] and not rows[1][at:].strip(), "what follows a cut row is not looked into"


# --- without colours


def test_the_legend_without_colours_shows_its_looks() -> None:
    play = started("hello").press(*[Action.PALETTE] * 2, Action.LAYER)
    shades = [(style, part) for style, part in draw(play)[-3] if style.startswith("class:probability.")]
    assert [part for _, part in shades] == ["abc"] * 4
    rules = styles("monochrome")
    assert len({rules[style.removeprefix("class:")] for style, _ in shades}) == 4


@pytest.mark.parametrize("mark", ["", "•"])
def test_a_rank_of_six_digits_moves_no_column_of_a_comparison(mark: str) -> None:
    play = fake.started("ab")
    node = play.session.game.prompt.tip

    def drawn(rank: int) -> str:
        beside = TokenPair(7, TokenLogprob(-3.0, rank), TokenLogprob(-2.0, 5))
        line = versus.row(play.session, node, Candidate(rank, 7, -3.0), beside, 60, "", mark)
        return "".join(part for _, part in line)

    assert drawn(123_456)[7:50] == drawn(7)[7:50] and "123456" in drawn(123_456)


@pytest.mark.parametrize("by_text", [False, True])
def test_a_comparisons_table_has_whole_columns_at_any_width(by_text: bool) -> None:
    """Beside the sampler chain, some are left out."""
    other = test_second_model.ELSEWHERE if by_text else fake.OTHER
    session = test_second_model.compared("hello you", other).session
    for width in range(28, 90):
        head, *rows = ["".join(part for _, part in line) for line in table_lines(session, width, 16)]
        assert all(cells_of(line) == width and "…" not in line[-9:] for line in (head, *rows[:5])), width
        assert head.split()[-1] in ("B", "bits", "moved", "prob")
        numbers = re.findall(r"\d\.\d{4}|\de-\d+", rows[0])
        assert len(numbers) == 2, "what A and B make of it"
        assert ("rank" in head) == (width >= (37 if by_text else 40))


@pytest.mark.parametrize("width", [60, 80, 130])
def test_the_status_says_comparing_at_any_width(width: int) -> None:
    line = "".join(part for _, part in status(comparing().session, width, AssistantTurns()))
    assert line.endswith(" comparing ") and "A−B" in line
