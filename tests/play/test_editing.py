"""Changing the middle of a prompt: what follows stays, and the new prompt knows the one that it was made from."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fake
from tests.fake import MODEL, PIECES, Play, ranked, served, started, walking
from tests.sampling import few
from tokex_gguf.engine.protocol import Checked, EngineDied, Tokenize, Tokenized
from tokex_gguf.engine.spelling import no_text
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import of
from tokex_gguf.play.game import Settings, Turns
from tokex_gguf.play.messages import Edit, Edited, Go, Message, PointedAtToken, Typed, Unbound
from tokex_gguf.play.screens import PLAY, Insert
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.splice import by_ids, by_text, unspelled
from tokex_gguf.values.tokens import Piece, label


def screen(play: Play, width: int = 130) -> str:
    return "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, width, 40))


def path(play: Play) -> list[int]:
    return play.session.game.prompt.tip.path()


def parent(play: Play) -> list[int] | None:
    made_from = play.session.game.prompt.parent
    return made_from.path() if made_from else None


# --- what a prompt was made from


BRANCHES: dict[str, tuple[Message, ...]] = {
    "a copy": (Action.COPY,),
    "another token": (Action.CURSOR_BACK, Action.DOWN, Action.APPEND),
    "typed text": (Action.CURSOR_BACK, Action.INPUT, Typed("abc"), Action.ENTER),
    "a token that was found": (Action.CURSOR_BACK, Action.SEARCH, Typed("a"), Action.APPEND),
    "a place of the tree": (Action.TREE, Action.TOP, Action.OPEN),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_prompt_knows_what_it_was_made_from(name: str) -> None:
    play = started("hello").press(Action.APPEND)
    assert parent(play) is None
    before = path(play)
    play.press(*BRANCHES[name])
    assert len(play.session.game.prompts) == 2 and parent(play) == before
    play.press(Action.CURSOR_TIP, Action.APPEND, Action.POP, Action.INPUT, Typed("x"), Action.ENTER)
    assert parent(play) == before, "also when it has gone on"
    play.press(Go(0), Action.POP)
    play.press(Go(1))
    assert parent(play) == before, "and when that has gone elsewhere"


def test_a_text_that_is_opened_was_made_from_no_prompt() -> None:
    play = started("hello").press(Action.PROMPTS, Action.NEW, Typed("another"), Action.ENTER)
    assert path(play) == fake.text_to_path("another") and parent(play) is None


# --- at the cursor


def looking(text: str = "hello world", depth: int = 5, **settings: object) -> Play:
    """A game that looks at a token of its prompt, whose last two tokens were chosen."""
    play = started(text, **settings).press(Action.APPEND, Action.DOWN, Action.APPEND)
    return play.press(PointedAtToken(depth - 1))


def cursor(play: Play) -> int | None:
    node = play.session.game.prompt.cursor
    return node.depth if node else None


def chosen(play: Play) -> list[int]:
    """The positions of the tokens that were chosen."""
    return [node.depth - 1 for node in play.session.game.prompt.tip.nodes() if node.played]


def test_the_selected_token_takes_the_place_of_the_one_that_is_looked_at() -> None:
    play = looking(depth=5)
    before, prompt = path(play), play.session.game.prompt
    best = ranked(before[:4])[0]
    play.press(Action.TOP, Action.REPLACE)
    assert path(play) == [*before[:4], best, *before[5:]]
    assert play.session.game.active == 1 and play.session.game.prompts[0].tip is prompt.tip
    assert parent(play) == before and cursor(play) == 5, "the cursor stays there"
    assert chosen(play) == [4, len(before) - 2, len(before) - 1], "what was chosen behind it still is"
    assert play.session.notice == f"“{label(PIECES[best].data)}” in place of “␣_”, 8 tokens after it kept"
    play.press(Action.UNDO)
    assert play.session.game.prompts == (replace(prompt, chosen=best),)
    play.press(Action.REDO)
    assert path(play) == [*before[:4], best, *before[5:]] and parent(play) == before and cursor(play) == 5


def test_a_token_that_was_found_takes_the_place_of_the_one_that_is_looked_at() -> None:
    play = looking(depth=5)
    before = path(play)
    play.press(Action.SEARCH, Typed("k"), Action.REPLACE)
    found = next(token for token in ranked(before[:4]) if PIECES[token].data == b" k" or PIECES[token].data == b" K")
    assert path(play) == [*before[:4], found, *before[5:]] and parent(play) == before and cursor(play) == 5
    assert play.session.screen is PLAY and chosen(play)[0] == 4
    play.press(Action.UNDO, Action.SEARCH, Action.ERASE_LINE, Typed("_"))
    assert "this one stands here" in refused(play, Action.REPLACE)
    play.press(Action.CLOSE, Action.CURSOR_TIP, Action.SEARCH)
    assert "this is the prompt's end" in refused(play, Action.REPLACE)
    assert path(play) == before and len(play.session.game.prompts) == 1


def test_the_token_that_is_looked_at_is_deleted() -> None:
    play = looking(depth=5)
    before = path(play)
    play.press(Action.DELETE_TOKEN)
    assert path(play) == before[:4] + before[5:] and parent(play) == before and cursor(play) == 5
    assert play.session.notice == "without “␣_”, 8 tokens after it kept"
    play.press(Action.CURSOR_TIP, Action.CURSOR_BACK, Action.DELETE_TOKEN)
    assert path(play) == (before[:4] + before[5:])[:-1] and cursor(play) is None
    assert play.session.notice.endswith("nothing stands after it")


def test_typed_text_goes_before_the_token_that_is_looked_at() -> None:
    play = looking(depth=5)
    before = path(play)
    play.press(Action.INSERT, Typed("abc"))
    assert len(play.session.game.prompts) == 1 and "before “␣_”" in screen(play)
    play.press(Action.ENTER)
    assert path(play) == [*before[:4], *fake.text_to_path("abc"), *before[4:]]
    assert parent(play) == before and cursor(play) == 5 and play.session.screen is PLAY
    assert play.session.notice == "3 tokens put in, 9 tokens after it kept"
    assert chosen(play) == [len(before) + 1, len(before) + 2]


def test_typed_text_takes_the_place_of_tokens_that_are_taken_in() -> None:
    play = looking(depth=5)
    before = path(play)
    play.press(Action.INSERT, Action.TAKE_IN, Action.TAKE_IN)
    assert play.session.line.text == " _ P" and "in place of 2 tokens" in screen(play)
    play.press(Action.GIVE_BACK, Action.GIVE_BACK)
    assert play.session.line.text == "" and "before “␣_”" in screen(play)
    play.press(Action.GIVE_BACK)
    assert play.session.notice == "no token is taken in"
    play.press(Typed("ab"), Action.TAKE_IN)
    assert play.session.line.text == "ab", "what is typed is typed over them"
    play.press(Action.TAKE_IN, Action.ENTER)
    assert path(play) == [*before[:4], *fake.text_to_path("ab"), *before[6:]]
    assert play.session.notice == "2 tokens in place of 2, 7 tokens after it kept"


def test_an_empty_line_in_place_of_tokens_deletes_them() -> None:
    play = looking(depth=5)
    before = path(play)
    play.press(Action.INSERT, Action.TAKE_IN, Action.TAKE_IN, Action.ERASE_LINE, Action.ENTER)
    assert path(play) == before[:4] + before[6:]
    assert play.session.notice.startswith("without 2 tokens, ")
    play.press(Action.CURSOR_FIRST, Action.INSERT, *[Action.TAKE_IN] * 20)
    assert play.session.notice == "the prompt ends here"
    play.press(Action.ERASE_LINE, Action.ENTER)
    assert path(play) == before[:4] + before[6:] and "empty text" in play.session.notice


def test_one_token_taken_in_and_emptied_is_told_as_where_it_is_deleted() -> None:
    deleted = looking(depth=5).press(Action.DELETE_TOKEN).session.notice
    emptied = looking(depth=5).press(Action.INSERT, Action.TAKE_IN, Action.ERASE_LINE, Action.ENTER).session.notice
    assert emptied == deleted and deleted.startswith("without “")


def test_text_that_was_not_put_in_comes_back() -> None:
    play = looking(depth=5).press(Action.INSERT, Typed("abc"), Action.CLOSE)
    assert play.session.notice == "the text is kept: I brings it back" and len(play.session.game.prompts) == 1
    again = load(dump(play.session), Settings("", GgufFile("")))
    assert again.unfinished(Insert) == "abc" == load(dump(again), Settings("", GgufFile(""))).unfinished(Insert)
    play.press(Action.INSERT)
    assert play.session.line.text == "abc" == load(dump(play.session), Settings("", GgufFile(""))).unfinished(Insert)
    play.press(Action.ERASE_LINE, Action.TAKE_IN, Action.CLOSE, Action.INSERT)
    assert play.session.line.text == "", "the prompt's own text is no typed one"
    play.press(Action.ENTER)
    assert play.session.notice == "nothing was typed"
    play.press(Action.INSERT, Action.TAKE_IN, Action.ENTER)
    assert play.session.notice == "nothing was changed" and len(play.session.game.prompts) == 1


def test_keys_behind_enter_are_no_part_of_the_text() -> None:
    play = looking(depth=5).press(Action.INSERT, Typed("ab"))
    before = path(play)
    play.take(Action.ENTER)
    play.take(Action.TAKE_IN)
    assert play.session.notice == "putting it in …", "in place of nothing, as it was entered"
    play.take(Typed("c"))
    play.answer()
    assert path(play) == [*before[:4], *fake.text_to_path("ab"), *before[4:]]
    play.press(Action.INSERT, Typed("ab"))
    play.take(Action.ENTER)
    play.take(Action.ERASE)
    play.answer()
    assert play.session.line.text == "a" and len(play.session.game.prompts) == 2, "a text that is changed is not put in"


def test_an_engine_that_stops_takes_no_text_away() -> None:
    play = looking(depth=5).press(Action.INSERT, Typed("ab"))
    play.take(Action.ENTER)
    play.asked.clear()
    play.take(EngineDied("SIGSEGV"))
    assert play.session.line.text == "ab"
    play.press(Action.ENTER)
    assert "the text is kept" in play.session.notice and play.session.line.text == "ab"


def test_no_more_than_what_is_behind_an_edit_is_evaluated() -> None:
    play = looking("hello world" * 9, depth=50)
    length, decoded = len(path(play)), play.decoded
    play.press(Action.TOP, Action.REPLACE)
    assert play.decoded - decoded == length - 49
    play.press(Action.DELETE_TOKEN)
    assert play.decoded - decoded <= length - 49 + length - 50 + 1
    decoded = play.decoded
    play.press(Action.INSERT, Typed("abc"), Action.ENTER)
    assert play.decoded - decoded <= length - 50 + 3 + 1
    decoded = play.decoded
    play.press(Action.PREVIOUS, Action.PREVIOUS, Action.UNDO, Action.REDO)
    assert play.decoded == decoded, "all of it is known"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ((Action.CURSOR_TIP, Action.REPLACE), "K replaces the token that is looked at"),
        ((Action.CURSOR_TIP, Action.DELETE_TOKEN), "Del deletes the token that is looked at"),
        ((Action.CURSOR_TIP, Action.INSERT), "I types before the token that is looked at"),
        ((Action.REPLACE,), "this one stands here"),
        ((Action.CURSOR_FIRST, Action.REPLACE), "nothing comes before the first token"),
        ((Action.RETOKENIZE,), "the prompt is cut as the tokenizer does it"),
    ],
)
def test_what_cannot_be_edited_says_why(keys: tuple[Action, ...], reason: str) -> None:
    play = looking().press(*keys[:-1])
    before = play.session.game
    assert reason in refused(play, keys[-1]) and play.session.game.prompts == before.prompts


def refused(play: Play, action: Action) -> str:
    """Why a command cannot be done, which its key says, too."""
    command = of(play.session.screen, action)
    assert command is not None
    reason = command.disabled(play.session)
    play.press(action)
    assert reason and play.session.notice == reason
    return reason


def test_there_is_no_more_room_than_for_so_many_prompts() -> None:
    play = looking(max_prompts=1).press(Action.TOP)
    for action in (Action.REPLACE, Action.DELETE_TOKEN, Action.INSERT):
        assert "no more than 1 can be open" in refused(play, action)
    play.session.game.prompt.tip.differs = 2
    assert "no more than 1 can be open" in refused(play, Action.RETOKENIZE)


def test_the_first_token_can_go_unless_it_is_the_only_one() -> None:
    play = started("hi").press(Action.CURSOR_FIRST, Action.DELETE_TOKEN)
    assert path(play) == fake.text_to_path("i") and cursor(play) == 1
    assert refused(play, Action.DELETE_TOKEN) == "the only token stays"
    play.press(Action.INSERT, Typed("h"), Action.ENTER)
    assert path(play) == fake.text_to_path("hi")


def test_nothing_is_typed_before_the_token_that_every_text_begins_with() -> None:
    play = Play("hello")
    play.asked.clear()
    play.take(replace(MODEL, bos=fake.text_to_path("h")[0]))
    play.answer().press(Action.CURSOR_FIRST)
    assert refused(play, Action.INSERT) == "every text begins with this token: look at the next one"
    play.press(Action.DELETE_TOKEN)
    assert path(play) == fake.text_to_path("ello"), "but what comes of a text without it can be seen"


def test_a_table_that_is_not_there_yet_has_nothing_to_put_in() -> None:
    """A server has come by the tip, and not by what is looked at."""
    play = walking("hello world")
    play.take(PointedAtToken(6))
    assert refused(play, Action.REPLACE) == "this table is not there yet"
    before = path(play)
    play.press(Action.DELETE_TOKEN)
    assert path(play) == before[:6] + before[7:] and play.session.game.ready
    play.press(Action.TOP, Action.REPLACE)
    assert path(play)[7:] == before[8:], "its table was walked to"
    assert play.session.game.prompt.tip.whole, "and all behind it"


def test_a_dead_engine_leaves_editing_by_tokens() -> None:
    play = looking()
    play.take(EngineDied("SIGSEGV"))
    before = path(play)
    play.press(Action.TOP, Action.REPLACE, Action.DELETE_TOKEN)
    assert path(play) == before[:4] + before[5:] and "r restarts it" in refused(play, Action.INSERT)


def test_a_token_that_ends_a_generation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    play = looking(depth=5)
    best = ranked(path(play)[:4])[0]
    monkeypatch.setitem(PIECES, best, replace_piece(PIECES[best]))
    play.session.game.known.pieces[best] = PIECES[best]
    play.press(Action.TOP, Action.REPLACE)
    assert play.session.notice.endswith("; it ends a generation")


def replace_piece(piece: Piece) -> Piece:
    return piece._replace(ends=True)


# --- any edits one after the other


@pytest.mark.parametrize("begin", [started, served])
@pytest.mark.parametrize("seed", few(range(20), of=4))
def test_random_edits_do_what_lists_of_tokens_say(begin: Callable[..., Play], seed: int) -> None:
    """Each edit against a plain one: the tokens, what the prompt was made from, where the cursor is, what is given."""
    chance = random.Random(seed)
    play = begin("hello world", max_prompts=20)
    prompts: list[tuple[list[int], list[int] | None]] = [(path(play), None)]
    active = 0
    for step in range(60):
        tokens = prompts[active][0]
        here = chance.randrange(len(tokens))
        play.press(PointedAtToken(here))
        begins, kind = play.session.game.prompt.begins, chance.choice("rrdiiowpu")
        made: list[int] | None = None
        if kind == "r":
            play.press(Action.TOP, *[Action.DOWN] * chance.randrange(4))
            row = play.session.game.prompt.chosen
            play.press(Action.REPLACE)
            if here and row is not None and row != tokens[here]:
                made = [*tokens[:here], row, *tokens[here + 1 :]]
        elif kind == "d":
            play.press(Action.DELETE_TOKEN)
            made = tokens[:here] + tokens[here + 1 :] if len(tokens) > 1 else None
        elif kind in "io":
            over = min(chance.randrange(4), len(tokens) - here) if kind == "o" else 0
            typed = chance.choice(["a", "xyz"])
            play.press(Action.INSERT, *[Action.TAKE_IN] * over, Action.ERASE_LINE, Typed(typed), Action.ENTER)
            made = [*tokens[:here], *fake.text_to_path(typed), *tokens[here + over :]]
            play.press(*[Action.CLOSE] * (play.session.screen is not PLAY))  # there was no room
        elif kind == "w":
            play.press(Action.NEXT)
            active = (active + 1) % len(prompts)
        elif kind == "p":
            play.press(Action.CURSOR_TIP, Action.APPEND)
            prompts[active] = (path(play), prompts[active][1])
        elif kind == "u":
            play.press(Action.UNDO, Action.REDO)
            active = play.session.game.active
        if made is not None and len(prompts) < 20:
            active += 1
            prompts.insert(active, (made, tokens))
            assert cursor(play) == (here + 1 if here < len(made) else None), (seed, step, kind)
            after = play.session.game.prompt.begins
            # What the model wrote behind the edit is what it wrote before, and what it wrote before it stays so.
            assert begins <= here or made[after:] == tokens[begins:] or after > here, (seed, step, kind)
            assert begins > here or after >= begins, (seed, step, kind)
        shown = [(one.tip.path(), one.parent.path() if one.parent else None) for one in play.session.game.prompts]
        assert shown == prompts and play.session.game.active == active, (seed, step, kind)
        assert play.session.screen is PLAY and play.session.game.ready
    again = load(dump(play.session), Settings("", GgufFile("")))
    shown = [(one.tip.path(), one.parent.path() if one.parent else None) for one in again.game.prompts]
    assert shown == prompts


# --- where the model's part begins


@pytest.mark.parametrize("limited", [False, True])
def test_a_constraint_begins_behind_the_same_token(limited: bool) -> None:
    """It governs what the model wrote, wherever the text before that becomes longer or shorter."""
    play = started("hello world").press(Action.APPEND, Action.APPEND)
    if limited:
        play.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.CONSTRAINT, Typed("0123"), Action.ENTER)
    begins = play.session.game.prompt.begins
    assert begins == 11
    play.press(PointedAtToken(3), Action.DELETE_TOKEN)
    assert play.session.game.prompt.begins == 10
    play.press(Action.INSERT, Typed("abc"), Action.ENTER)
    assert play.session.game.prompt.begins == 13
    play.press(PointedAtToken(13), Action.TOP, Action.UP, Action.DOWN, Action.REPLACE)
    assert play.session.game.prompt.begins == 13, "a token that is chosen is the model's"
    play.press(PointedAtToken(13), Action.INSERT, Typed("ab"), Action.ENTER)
    assert play.session.game.prompt.begins == (13 if limited else 15), "typed text is none of its, but governed"
    play.press(PointedAtToken(15), Action.DELETE_TOKEN)
    assert play.session.game.prompt.begins == (13 if limited else 15)


# --- cutting a text anew


@pytest.mark.parametrize("text", ["a", "ab", "abc", "abcd", "abcde"])
def test_a_short_prompt_is_drawn_before_it_is_compared(text: str) -> None:
    play = started(text)
    play.session.game.prompt.tip.checked = False
    for width in (80, 130):
        assert "Prompt 1/1" in screen(play, width)
    command = of(PLAY, Action.RETOKENIZE)
    assert command is not None and command.disabled(play.session)


def differing(play: Play, place: int | None) -> Play:
    """The tokenizer has compared the active prompt with its text."""
    play.session.game.prompt.tip.checked = False
    play.checks.clear()
    play.take(Unbound("q"))
    (check,) = play.checks
    play.checks.clear()
    play.take(Checked(check.request, place))
    return play


def cut_anew(play: Play, tokens: list[int]) -> Play:
    """Presses T; the tokenizer makes these tokens of the text."""
    play.take(Action.RETOKENIZE)
    (request,) = play.asked
    assert isinstance(request, Tokenize) and not request.continues
    assert request.text == b"".join(PIECES[token].data for token in path(play)).decode()
    play.asked.clear()
    play.take(Tokenized(request.request, tokens, PIECES))
    return play.answer()


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_text_is_cut_anew_as_the_tokenizer_does_it(at_the_end: bool) -> None:
    play = looking(depth=5)
    before = path(play)
    if at_the_end:
        play.press(Action.CURSOR_TIP)
    differing(play, 5)
    assert "split unlike the tokenizer from token 6 on: T splits it anew" in screen(play.press(Action.LAYER))
    made = [*before[:5], 1, 2, 3, *before[7:]]
    cut_anew(play, made)
    assert path(play) == made and parent(play) == before and len(play.session.game.prompts) == 2
    assert cursor(play) == (None if at_the_end else 6)
    assert play.session.notice == f"split anew from token 6 on: 3 tokens for 2, {len(before) - 7} tokens after it kept"
    assert chosen(play) == [len(made) - 2, len(made) - 1]
    play.press(Action.UNDO)
    assert path(play) == before and len(play.session.game.prompts) == 1
    play.press(Action.REDO)
    assert path(play) == made and parent(play) == before


def test_what_a_constraint_governs_stays_so_where_a_text_is_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    play = started("hello").press(Action.APPEND, Action.APPEND)
    assert play.session.game.prompt.begins == 5
    before = path(play)
    differing(play, 3)
    # Each token has two bytes. One of three stands for the last two given ones and the first that is not.
    longer = next(token for token in range(64) if token not in before)
    monkeypatch.setitem(PIECES, longer, Piece(b"six by"))
    cut_anew(play, [*before[:3], longer, before[6]])
    assert play.session.game.prompt.begins == 4


def test_who_went_elsewhere_does_not_want_the_text_that_is_cut_anew() -> None:
    for keys in ((Action.APPEND,), (Action.COPY, Action.APPEND), (Action.INPUT,), (Action.TREE,)):
        play = differing(looking().press(Action.CURSOR_TIP), 5)
        play.take(Action.RETOKENIZE)
        (request,) = play.asked
        assert isinstance(request, Tokenize)
        play.asked.clear()
        play.press(*keys)
        before = play.session.game.prompts
        play.take(Tokenized(request.request, [1, 2, 3], PIECES))
        assert play.session.game.prompts == before


def test_an_edit_says_where_the_seam_would_be_split_otherwise() -> None:
    play = looking(depth=5)
    play.take(Action.DELETE_TOKEN)
    while play.asked:
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    (check,) = play.checks
    play.take(Checked(check.request, 4))
    told = "split unlike the tokenizer from token 5 on: T splits it anew"
    assert play.session.notice == f"{told}; without “␣_”, 8 tokens after it kept"
    play.checks.clear()
    assert told in screen(play.press(Action.LAYER)), "and still, where one looks"
    assert "split otherwise from 5 on: T" in screen(play, 80)
    assert told in screen(play.press(Action.CURSOR_TIP))
    assert "cut " not in screen(play.press(Action.POP))


EMOJI = {40 + index: Piece(data) for index, data in enumerate([b"\xf0\x9f", b"\x99", b"\x82"])}


@pytest.fixture
def bytewise(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three tokens that make one character."""
    for token, piece in EMOJI.items():
        monkeypatch.setitem(PIECES, token, piece)
    return list(EMOJI)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_part_of_a_character_can_go_and_then_there_is_no_text_to_cut(bytewise: list[int], part: int) -> None:
    text = "".join(map(chr, [97, 98, *(64 + token for token in bytewise), 99, 100]))
    play = started(text)
    assert path(play)[2:5] == bytewise
    play.press(PointedAtToken(2 + part), Action.DELETE_TOKEN)
    pieces = [PIECES[token].data for token in path(play)]
    place = no_text(pieces)
    assert place is not None, "no tokenizer makes that of any text"
    differing(play, place)
    reason = refused(play, Action.RETOKENIZE)
    assert reason == f"token {place + 1} has bytes of no whole character: there is no text to split anew"
    assert f"token {place + 1} has bytes of no whole character" in screen(play.press(Action.LAYER))
    play.press(Action.EDIT)
    assert "inside a character" in play.session.notice


def test_a_prompt_that_ends_inside_a_character_has_no_text_yet(bytewise: list[int]) -> None:
    play = started("ab" + "".join(chr(64 + token) for token in bytewise[:2]))
    play.session.game.prompt.tip.checked = False  # it is never answered
    assert refused(play, Action.RETOKENIZE) == "the prompt ends inside a character: append or pop first"
    play = started("hello")
    play.session.game.prompt.tip.checked = False
    assert "has not compared" in refused(play, Action.RETOKENIZE)


def test_a_character_is_taken_in_whole(bytewise: list[int]) -> None:
    text = "".join(map(chr, [97, 98, *(64 + token for token in bytewise), 99]))
    play = started(text).press(PointedAtToken(1), Action.INSERT, Action.TAKE_IN)
    assert play.session.line.text == " R"
    play.press(Action.TAKE_IN)
    assert play.session.line.text == " R🙂" and "in place of 4 tokens" in screen(play)
    play.press(Action.GIVE_BACK)
    assert play.session.line.text == " R"
    play.press(Action.CLOSE, PointedAtToken(3), Action.INSERT, Action.TAKE_IN)
    assert "no whole character" in play.session.notice and play.session.line.text == ""


@given(st.lists(st.sampled_from([b"\xf0\x9f", b"\x99", b"\x82", b"a", b" b", "é".encode(), b"\xc3", b""]), max_size=12))
def test_that_there_is_no_text_is_seen_from_a_few_tokens(pieces: list[bytes]) -> None:
    pieces = [piece or b"x" for piece in pieces]
    place = no_text(pieces)
    if place is not None:
        assert unspelled(pieces[max(0, place - 3) : place + 5], begins=place <= 3)
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError:
        return
    for here in range(len(pieces)):
        assert not unspelled(pieces[max(0, here - 3) : here + 5], begins=here <= 3)


# --- in the editor


def test_what_is_unchanged_in_the_editor_keeps_its_tokens() -> None:
    """Also where the tokenizer would cut it in another way."""
    pieces = {1: b"ab", 2: b"a", 3: b"b", 4: b"c", 5: b"d", 6: b"bc", 7: b"abc"}

    def text(tokens: list[int]) -> bytes:
        return b"".join(pieces[token] for token in tokens)

    def spliced(old: list[int], new: list[int]) -> list[int]:
        splice = by_text(old, new, pieces.__getitem__)
        return old[: splice.start] + splice.tokens + old[splice.end :]

    assert spliced([2, 3, 4, 2, 3], [1, 5, 1]) == [2, 3, 5, 2, 3]
    assert spliced([2, 3, 4], [7, 5]) == [2, 3, 4, 5]
    assert spliced([2, 3], [7]) == [7], "the seam is the tokenizer's"
    assert spliced([1, 4, 5], [6, 5]) == [6, 5]
    chance = random.Random(1)
    for _ in range(3000):
        old, new = ([chance.choice(list(pieces)) for _ in range(chance.randint(1, 9))] for _ in range(2))
        made = spliced(old, new)
        assert text(made) == text(new), (old, new)
        assert spliced(old, old) == old
        splice = by_ids(old, new)
        assert old[: splice.start] + splice.tokens + old[splice.end :] == new


def test_an_edited_text_takes_the_prompts_place_and_knows_it() -> None:
    play = looking("hello world", depth=5)
    before, text = path(play), "".join(PIECES[token].data.decode() for token in path(play))
    made = [*before[:6], 1, 2, *before[8:]]
    changed = "".join(PIECES[token].data.decode() for token in made)
    for place in (5, None):
        play.press(Action.CURSOR_TIP if place is None else PointedAtToken(4), Action.EDIT)
        assert play.effects == [Edit(text)]
        play.take(Edited(changed))
        (request,) = play.asked
        assert isinstance(request, Tokenize)
        play.asked.clear()
        play.take(Tokenized(request.request, made, PIECES))
        play.answer()
        assert path(play) == made and parent(play) == before and len(play.session.game.prompts) == 1
        assert cursor(play) == (None if place is None else 7), "who looked back looks at the change"
        assert chosen(play) == [len(before) - 2, len(before) - 1], "it was chosen, and still is"
        assert play.session.game.prompt.begins == 11
        play.press(Action.UNDO)
        assert path(play) == before and parent(play) is None


# --- chats


def said(play: Play) -> list[int]:
    """The positions of the assistant's tokens in the active prompt."""
    known = play.session.game.said or frozenset()
    return [node.depth - 1 for node in play.session.game.prompt.tip.nodes() if node in known]


def told_perplexity(play: Play) -> str:
    found = re.search(r"assistant's ppl (\S+)", screen(play))
    return found.group(1) if found else ""


def perplexity(play: Play) -> str:
    """Of the assistant's tokens, computed plainly."""
    tokens = path(play)
    values = [fake.taken(tokens[:place], tokens[place]).logprob for place in said(play)]
    value = math.exp(-sum(values) / len(values))
    return f"{value:.2f}" if value < 10_000 else f"{value:.2e}"


def test_an_edited_chat_knows_what_the_assistant_says() -> None:
    """And its perplexity is shown of each prompt that was made so."""
    play = started("hello world again")
    nodes = play.session.game.prompt.tip.nodes()
    turns = frozenset([*nodes[6:9], *nodes[12:14]])
    play.session = replace(play.session, game=replace(play.session.game, turns=Turns(turns)))
    assert told_perplexity(play) == perplexity(play) != ""
    play.press(PointedAtToken(3), Action.TOP, Action.REPLACE)
    assert said(play) == [6, 7, 8, 12, 13] and told_perplexity(play) == perplexity(play)
    play.press(Action.INSERT, Typed("xy"), Action.ENTER)
    assert said(play) == [8, 9, 10, 14, 15] and told_perplexity(play) == perplexity(play)
    play.press(PointedAtToken(9), Action.DELETE_TOKEN)
    assert said(play) == [8, 9, 13, 14] and told_perplexity(play) == perplexity(play)
    play.press(PointedAtToken(9), Action.INSERT, Typed("z"), Action.ENTER)
    assert said(play) == [8, 9, 10, 14, 15], "what stands between two of its tokens is its"
    play.press(PointedAtToken(8), Action.INSERT, Typed("z"), Action.ENTER)
    assert said(play) == [9, 10, 11, 15, 16] and told_perplexity(play) == perplexity(play)
    play.press(Action.CURSOR_TIP, Action.APPEND, Action.LAYER)
    assert told_perplexity(play) == perplexity(play), "what comes behind changes nothing"
    play.press(*[Action.UNDO] * 6)
    assert said(play) == [6, 7, 8, 12, 13] and told_perplexity(play) == perplexity(play)
    play.press(*[Action.REDO] * 6)
    assert said(play) == [9, 10, 11, 15, 16]
    again = load(dump(play.session), Settings("", GgufFile("")))
    kept = [node.depth - 1 for node in again.game.prompt.tip.nodes() if node in (again.game.said or ())]
    assert kept == [9, 10, 11, 15, 16]


def test_a_text_of_which_the_tokenizer_makes_the_same_tokens_changes_nothing() -> None:
    play = looking(depth=5)
    before, prompts = path(play), play.session.game.prompts
    play.press(Action.EDIT)
    play.take(Edited("another"))
    (request,) = play.asked
    assert isinstance(request, Tokenize)
    play.asked.clear()
    play.take(Tokenized(request.request, before, PIECES))
    play.answer()
    assert play.session.game.prompts == prompts and parent(play) is None
