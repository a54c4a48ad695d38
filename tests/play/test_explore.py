"""Looking back, jumping, searching, typing, scoring, the tree and the lists: without model or terminal."""

import math
import re
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import PIECES, Play, on, screen_of, started
from tokex_gguf.engine.protocol import Checked, EngineDied, Evaluate, Failed, Lookahead, Search, Stop, Tokenize
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command
from tokex_gguf.play.commands.registry import SCREENS, all_commands
from tokex_gguf.play.game import Cost
from tokex_gguf.play.messages import (
    Edit,
    Edited,
    EditFailed,
    Go,
    ListedStarters,
    ListStarters,
    Message,
    PointedAtRow,
    PointedAtToken,
    Typed,
    Unbound,
)
from tokex_gguf.play.purposes import ForEvaluation
from tokex_gguf.play.rules import cursor as rule_cursor
from tokex_gguf.play.rules.tree import selected_line, tree_lines
from tokex_gguf.play.screens import Screen, TypingScreen
from tokex_gguf.play.session import Palette, Starter
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.distribution import Candidate, Distribution, TokenLogprob
from tokex_gguf.values.outline import outline
from tokex_gguf.values.ranking import surprisals
from tokex_gguf.values.score import Score, shares
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node, entropy_before


def paths(play: Play) -> list[list[int]]:
    return [prompt.tip.path() for prompt in play.session.game.prompts]


def playing_keys() -> list[Action]:
    """What can be pressed while playing and needs a prompt."""
    free = {Action.QUIT, Action.SUSPEND, Action.HELP, Action.LAYER, Action.MORE_LAYERS, Action.PALETTE, Action.MOUSE}
    free |= {Action.SAVE, Action.RESTART, Action.MODELS, Action.SESSIONS, Action.GO, Action.COMMANDS}
    return sorted({binding.action for binding in SCREENS[screens.Play].commands} - free, key=lambda action: action.name)


def cursor(play: Play) -> int | None:
    """Position of the token looked at."""
    node = play.session.game.prompt.cursor
    return None if node is None else node.depth - 1


# --- looking back


def test_looking_back_shows_the_table_before_each_token_and_decodes_nothing() -> None:
    play = started("hello world")
    path, decoded = fake.text_to_path("hello world"), play.decoded
    for position in range(len(path) - 1, 0, -1):
        play.press(Action.CURSOR_BACK)
        place = play.session.game.prompt.place
        assert cursor(play) == position
        expected = fake.ranked(path[:position])
        assert [row.token for row in table(play.session, place)][:30] == expected[:30]
        row = table(play.session, place)[selected_row(play.session, place)]
        assert row.token == path[position], "the token that was taken is selected"
        assert row.rank == expected.index(path[position]) + 1, "and has its true rank, also below the table's rows"
        assert math.isclose(row.logprob, fake.logprobs(path[:position])[path[position]])
    assert paths(play) == [path]
    assert play.decoded == decoded and not play.asked


def test_the_first_token_has_no_table() -> None:
    play = started().press(Action.CURSOR_FIRST)
    assert cursor(play) == 0 and table(play.session, play.session.game.prompt.place) == ()
    for action in (Action.UP, Action.DOWN, Action.APPEND, Action.SEARCH, Action.INPUT):
        play.press(action)
        assert len(play.session.game.prompts) == 1 and isinstance(play.session.screen, screens.Play)
    assert "nothing comes before the first token" in play.session.notice


def test_another_token_at_an_inner_place_opens_a_new_prompt_and_leaves_the_old_one() -> None:
    play = started("hello")
    path = fake.text_to_path("hello")
    play.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.TOP)
    if fake.ranked(path[:3])[0] == path[3]:
        play.press(Action.DOWN)
    place = play.session.game.prompt.place
    token = table(play.session, place)[selected_row(play.session, place)].token
    play.press(Action.APPEND)
    assert paths(play) == [path, [*path[:3], token]]
    assert play.session.game.active == 1 and cursor(play) is None
    assert play.session.game.prompts[0].cursor is not None, "the old prompt still looks there"


def test_the_token_that_was_taken_opens_nothing() -> None:
    play = started().press(Action.CURSOR_BACK, Action.APPEND)
    assert len(play.session.game.prompts) == 1 and "was taken here" in play.session.notice


def test_popping_is_for_the_tip() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.POP)
    assert paths(play) == [fake.text_to_path("hello")] and "Esc" in play.session.notice
    play.press(Action.CURSOR_TIP, Action.POP)
    assert paths(play) == [fake.text_to_path("hell")]


def test_what_was_selected_at_the_tip_is_selected_again_there() -> None:
    play = started().press(Action.DOWN, Action.DOWN)
    before = play.session.game.prompt
    play.press(Action.CURSOR_FAR_BACK, Action.DOWN, Action.CURSOR_TIP)
    assert play.session.game.prompt == before


def test_a_click_looks_at_a_token_and_selects_a_row() -> None:
    play = started("hello").press(PointedAtToken(2))
    assert cursor(play) == 2
    play.press(PointedAtRow(4))
    assert selected_row(play.session, play.session.game.prompt.place) == 4
    play.press(PointedAtRow(4000))
    assert (
        selected_row(play.session, play.session.game.prompt.place)
        == len(table(play.session, play.session.game.prompt.place)) - 1
    )
    play.press(PointedAtToken(99))
    assert cursor(play) is None


@pytest.mark.parametrize(
    ("before", "key", "why"),
    [
        ((), Action.UP, "this is the most likely token"),
        ((), Action.TOP, "this is the most likely token"),
        ((Action.BOTTOM,), Action.DOWN, "/ finds every other token"),
        ((Action.CURSOR_FIRST,), Action.UP, "nothing comes before the first token"),
        ((Action.CURSOR_FIRST,), Action.APPEND, "nothing comes before the first token"),
        ((Action.CURSOR_FIRST,), Action.CURSOR_FIRST, "this is the first token"),
        ((Action.CURSOR_FIRST,), Action.CURSOR_FAR_BACK, "this is the first token"),
        ((), Action.CURSOR_ON, "this is the prompt's end"),
        ((), Action.CURSOR_TIP, "? shows the keys, ctrl+q quits"),
        ((Action.CURSOR_BACK,), Action.POP, "Esc goes there"),
        ((Action.CURSOR_BACK,), Action.AUTOPLAY, "Esc goes there"),
        ((Action.CURSOR_BACK,), Action.APPEND, "this one was taken here"),
        ((Action.POP,) * 4, Action.POP, "the first token stays"),
        ((), Action.NEXT, "one prompt is open: d copies it"),
        ((), Action.PREVIOUS, "one prompt is open: d copies it"),
        ((), Action.REMOVE, "the only prompt stays"),
        ((), Action.BRING_BACK, "no removed prompt"),
        ((), Go(0), "this is prompt 1"),
        ((), Go(3), "there is no prompt 4"),
        ((Action.COPY,) * 98, Action.COPY, "no more than 99 can be open"),
        ((), Action.CLEAR_SCORES, "no phrases were scored"),
        ((), Action.RESTART, "the engine answers"),
        ((Action.NEXT_SURPRISAL,), Action.NEXT_SURPRISAL, "this is the only such token"),
        ((Action.TREE,), Action.UP, "this is the first line"),
        ((Action.PROMPTS, Action.BOTTOM), Action.DOWN, "this is the last line"),
        ((Action.SEARCH,), Action.UP, "this is the likeliest one"),
        ((Action.SEARCH, *[Action.PAGE_DOWN] * 7), Action.DOWN, "this is the last one"),
        ((Action.SEARCH, Typed("no such text")), Action.APPEND, "no token has this text"),
        ((Action.INPUT,), Action.SCORE, "type a phrase first"),
        ((Action.HELP,), PointedAtToken(1), "a click does nothing here"),
        ((Action.INPUT,), PointedAtRow(1), "a click does nothing here"),
        ((Action.TREE,), PointedAtToken(1), "Esc goes back"),
        ((Action.TREE,), Unbound("x"), "x does nothing here: / finds a line, Esc goes back"),
        ((), Unbound("Q"), "Q does nothing here: ? shows the keys, ctrl+q quits"),
    ],
)
def test_a_key_that_does_nothing_says_why(before: tuple[Message, ...], key: Message, why: str) -> None:
    play = started("hello").press(*before)
    was = replace(play.session, notice="")
    play.press(key)
    assert why in play.session.notice
    assert len(play.session.notice) < 60, "it fits into the smallest screen"
    was = replace(
        was, game=replace(was.game, cost=play.session.game.cost)
    )  # what the key before it had cost is not told any more
    assert replace(play.session, notice="") == was, "and nothing else happens"


@pytest.mark.parametrize("key", [*playing_keys(), Go(0), PointedAtToken(0), Typed("pasted")])
def test_before_the_starting_prompt_is_read_keys_say_so(key: Message) -> None:
    play = Play("hello")
    play.take(key)
    assert "not read yet" in play.session.notice


def test_a_click_on_the_selected_line_is_no_fault() -> None:
    play = started("hello").press(Action.TREE)
    play.press(PointedAtRow(selected_line(play.session)))
    assert play.session.notice == ""


def test_without_an_engine_a_click_still_looks_at_a_token() -> None:
    play = started("hello")
    play.take(EngineDied("SIGKILL"))
    play.press(PointedAtToken(2))
    assert cursor(play) == 2
    play.press(Action.CURSOR_TIP, Typed("pasted"))
    assert play.session.notice.startswith("the engine is not there: r restarts it")


# --- jumping


@pytest.mark.parametrize("key", [Action.HIGHEST_SURPRISAL, Action.HIGHEST_ENTROPY])
def test_one_key_leads_to_the_highest_and_on_to_the_next(key: Action) -> None:
    play = started("hello")
    nodes = play.session.game.prompt.tip.nodes(1)
    bits = [node.surprisal if key is Action.HIGHEST_SURPRISAL else entropy_before(node) for node in nodes]
    values = [(node, value) for node, value in zip(nodes, bits, strict=True) if value is not None]
    ordered = sorted(values, key=lambda pair: pair[1], reverse=True)
    assert len(ordered) == 4
    for node, _ in ordered:
        play.press(key)
        assert play.session.game.prompt.cursor is node
    play.press(key)
    assert play.session.game.prompt.cursor is ordered[-1][0] and "leads to #1" in play.session.notice
    other = Action.HIGHEST_SURPRISAL if key is Action.HIGHEST_ENTROPY else Action.HIGHEST_ENTROPY
    for before in (Action.CURSOR_FIRST, Action.CURSOR_TIP, Action.CURSOR_BACK, other):
        play.press(before, key)
        assert play.session.game.prompt.cursor is ordered[0][0], "only after itself it goes on to the next"
    assert started("h").press(key).session.notice == rule_cursor.NONE


def test_notable_is_the_highest_tenth_or_what_reaches_the_threshold() -> None:
    tip = Node(None, -1).descend(list(range(51)))
    for node in tip.nodes():
        node.attach(fake.distribution([1], 3))
        node.attach_taken(TokenLogprob(-((node.depth - 2) % 25) * math.log(2), 2))
    ranked = surprisals(tip)
    # A tenth of fifty is five; equals stay together.
    assert len(ranked.notable(0.0)) == 6 and ranked.notable(0.0).next(0) == 24
    assert len(ranked.notable(23.5)) == 2 and ranked.notable(23.5).previous(99) == 51
    assert len(ranked.notable(99.0)) == len(surprisals(tip.ancestor(1)).notable(0.0)) == 0


def test_n_goes_round_the_most_surprising_tokens() -> None:
    play = started("hello world, how are you")
    nodes = play.session.game.prompt.tip.nodes()
    bits = {node.depth - 1: node.surprisal for node in nodes[1:]}
    best = sorted(sorted(bits, key=lambda place: -(bits[place] or 0))[:3])
    seen = []
    for _ in range(4):
        play.press(Action.NEXT_SURPRISAL)
        seen.append(cursor(play))
    assert seen == [*best, best[0]]
    for expected in (best[2], best[1], best[0], best[2]):
        play.press(Action.PREVIOUS_SURPRISAL)
        assert cursor(play) == expected


def test_m_goes_to_the_places_of_highest_entropy() -> None:
    play = started("hello world, how are you")
    path = fake.text_to_path("hello world, how are you")
    entropy = {place: fake.distribution(path[:place], 5).entropy_bits for place in range(1, len(path))}
    best = sorted(sorted(entropy, key=lambda place: -entropy[place])[:3])
    play.press(Action.NEXT_ENTROPY)
    assert cursor(play) == best[0]
    play.press(Action.PREVIOUS_ENTROPY)
    assert cursor(play) == best[-1]


def test_a_threshold_of_the_configuration_counts() -> None:
    play = started("hello world, how are you", surprise=60.0).press(Action.NEXT_SURPRISAL)
    assert cursor(play) is None and "no such token" in play.session.notice


# --- searching


def searching(*text: str) -> Play:
    play = started().press(Action.SEARCH)
    for part in text:
        play.press(Typed(part))
    return play


def rows_found(play: Play) -> tuple[Candidate, ...]:
    rows = on(play.session, screens.SearchScreen).rows
    assert rows
    return rows


def test_a_search_is_sorted_by_probability_with_true_ranks() -> None:
    play = searching()
    path = play.session.game.prompt.tip.path()
    assert [row.token for row in rows_found(play)] == fake.ranked(path)
    play.press(Typed("A"))
    wanted = [token for token in fake.ranked(path) if "a" in PIECES[token].data.decode().lower()]
    assert [row.token for row in rows_found(play)] == wanted
    assert [row.rank for row in rows_found(play)] == [fake.ranked(path).index(token) + 1 for token in wanted]


def test_what_was_found_is_appended_and_nothing_is_asked_about_it_twice() -> None:
    play = searching()
    play.press(*[Action.PAGE_DOWN] * 7)
    path, last = play.session.game.prompt.tip.path(), fake.ranked(play.session.game.prompt.tip.path())[-1]
    play.take(Action.APPEND)
    (request,) = play.asked
    assert isinstance(request, Evaluate) and request.start == len(path), "only the new token"
    play.answer()
    assert paths(play) == [[*path, last]] and isinstance(play.session.screen, screens.Play)
    assert play.session.game.prompt.tip.taken == fake.taken(path, last)


def test_only_the_newest_search_counts() -> None:
    play = started()
    play.take(Action.SEARCH)
    play.take(Typed("a"))
    first, second = play.asked
    assert isinstance(first, Search) and isinstance(second, Search)
    play.take(play.reply(first))  # type: ignore[arg-type]
    assert on(play.session, screens.SearchScreen).rows is None
    play.answer()
    assert on(play.session, screens.SearchScreen).rows is not None


def test_nothing_found_appends_nothing_and_escape_changes_nothing() -> None:
    play = searching("no such text")
    path = paths(play)
    play.press(Action.APPEND)
    assert isinstance(play.session.screen, screens.SearchScreen) and "no token" in play.session.notice
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play) and paths(play) == path and play.session.line.text == ""


def test_a_search_at_an_inner_place_opens_a_new_prompt() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.SEARCH)
    play.press(*[Action.PAGE_DOWN] * 7, Action.APPEND)
    path = fake.text_to_path("hello")
    assert paths(play) == [path, [*path[:4], fake.ranked(path[:4])[-1]]]


# --- typing and scoring


def test_typed_text_shows_its_probability_and_enter_appends_it_for_nothing() -> None:
    play = started("hello").press(Action.INPUT, Typed("w"), Typed("o"))
    path, typed = fake.text_to_path("hello"), fake.text_to_path("wo")
    assert on(play.session, screens.Input).tip.path() == [*path, *typed]
    expected = fake.logprobs(path)[typed[0]] + fake.logprobs([*path, typed[0]])[typed[1]]
    score = Score(on(play.session, screens.Input).base, on(play.session, screens.Input).tip)
    assert score.logprob == pytest.approx(expected)
    assert paths(play) == [path], "nothing is appended yet"
    decoded = play.decoded
    play.press(Action.ENTER)
    assert paths(play) == [[*path, *typed]] and play.session.game.ready and play.decoded == decoded


def test_enter_right_after_the_last_letter_waits_for_the_tokens() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("wo"))
    play.take(Action.ENTER)
    assert isinstance(play.session.screen, screens.Input)
    play.answer()
    assert paths(play) == [fake.text_to_path("hellowo")] and isinstance(play.session.screen, screens.Play)


def test_typing_goes_on_from_the_text_and_adds_nothing() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed(" x"))
    (request,) = play.asked
    assert request == Tokenize(request.request, " x", True, True)  # type: ignore[union-attr]


def test_escape_leaves_the_prompt_as_it_was() -> None:
    play = started("hello").press(Action.DOWN)
    before = play.session.game.prompt
    play.press(Action.INPUT, Typed("wo"), Action.CLOSE)
    assert play.session.game.prompt == before and play.session.on(screens.Input) is None and play.session.game.ready


def test_phrases_are_scored_against_each_other() -> None:
    play = started("hello").press(Action.INPUT, Typed("ab"), Action.SCORE, Typed("c"))
    play.press(Action.SCORE, Typed("ab"), Action.SCORE)
    path = fake.text_to_path("hello")
    assert paths(play) == [path] and play.session.line.text == ""
    second, first = play.session.game.results.scores  # the one that was scored again comes last
    tokens = fake.text_to_path("ab")
    expected = fake.logprobs(path)[tokens[0]] + fake.logprobs([*path, tokens[0]])[tokens[1]]
    assert first.logprob == pytest.approx(expected)
    assert second.logprob == pytest.approx(fake.logprobs(path)[fake.text_to_path("c")[0]])
    share = shares(play.session.game.results.scores)[1]
    assert first.logprob is not None and second.logprob is not None
    assert share == pytest.approx(1 / (1 + math.exp(second.logprob - first.logprob)))
    assert sum(value or 0 for value in shares(play.session.game.results.scores)) == pytest.approx(1.0)
    assert first.weakest is min(first.nodes, key=lambda node: node.taken.logprob)  # type: ignore[union-attr]
    play.press(Action.CLOSE)
    assert play.session.game.results.scores, "they stay until they are cleared"
    play.press(Action.CLEAR_SCORES)
    assert play.session.game.results.scores == ()


def test_a_phrase_scored_in_haste_is_computed_while_the_next_is_typed() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("ab"))
    play.take(Action.SCORE)
    play.answer()
    assert [score.logprob is not None for score in play.session.game.results.scores] == [True]


def test_phrases_typed_faster_than_they_are_tokenised_stay_apart() -> None:
    play = started("hello").press(Action.INPUT)
    for text in ("ab", "c", "de"):
        for char in text:
            play.take(Typed(char))
        play.take(Action.SCORE)
    play.answer()
    path = fake.text_to_path("hello")
    assert [score.tip.path()[5:] for score in play.session.game.results.scores] == [
        fake.text_to_path(t) for t in ("ab", "c", "de")
    ]
    assert all(score.logprob is not None for score in play.session.game.results.scores)
    assert play.session.game.prompt.tip.path() == path and play.session.line.text == ""


def test_what_is_typed_after_enter_is_not_part_of_the_text() -> None:
    play = started("hello").press(Action.INPUT)
    for message in (Typed("a"), Action.ENTER, Typed("e")):
        play.take(message)
    play.answer()
    assert paths(play) == [fake.text_to_path("helloa")]


def test_a_text_that_changes_stops_what_was_computed_for_it() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("a"))
    play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    assert isinstance(play.asked[0], Evaluate)
    play.take(Typed("b"))
    assert [type(request) for request in play.asked[1:]] == [Stop, Tokenize]


def test_shares_of_very_unlikely_phrases() -> None:
    root = Node(None, -1)
    scores = []
    for token, logprob in ((1, -5000.0), (2, -5000.0 + math.log(3))):
        root.child(token).attach_taken(TokenLogprob(logprob, 9))
        scores.append(Score(root, root.child(token)))
    unknown = Score(root, root.child(3))
    assert shares((*scores, unknown)) == [pytest.approx(0.25), pytest.approx(0.75), None]
    assert shares((unknown,)) == [None]


def test_a_phrase_that_does_not_fit_is_told_and_not_asked_for_again() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("ab"))
    play.take(Action.SCORE)
    while play.session.game.pending is None:
        play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    play.asked.clear()
    play.take(Failed(play.session.game.pending, "context full (5/5)", 5))
    assert "context full" in play.session.notice and play.session.game.results.scores == () and not play.asked
    play.press(Action.CLOSE, Action.APPEND)
    assert play.session.game.ready


def test_pasted_text_is_typed_text() -> None:
    play = started("hello").press(Typed("one\ntwo"))
    assert isinstance(play.session.screen, screens.Input) and play.session.line.text == "one\ntwo"
    play.press(Action.ENTER)
    assert paths(play) == [fake.text_to_path("helloone\ntwo")]


def test_without_an_engine_typing_and_searching_say_why_not() -> None:
    for action in (Action.INPUT, Action.SEARCH):
        play = started("hello")
        play.take(EngineDied("SIGKILL"))
        play.press(action)
        assert isinstance(play.session.screen, screens.Play) and "r restarts" in play.session.notice


@pytest.mark.parametrize("opened", [Action.INPUT, Action.SEARCH, Action.TREE, Action.PROMPTS])
@pytest.mark.parametrize("helped", [False, True])
def test_the_engines_death_leaves_every_mode_safely(opened: Action, helped: bool) -> None:
    play = started("hello").press(opened)
    if isinstance(play.session.screen, TypingScreen):
        play.press(Typed("a"))
    if helped:
        play.press(Action.HELP)
    play.take(EngineDied("SIGSEGV"))
    play.press(Action.CLOSE, Action.CLOSE, Action.RESTART, Action.APPEND)
    assert play.session.game.ready and isinstance(play.session.screen, screens.Play)
    assert len(play.session.game.prompt.tip.path()) == 6


# --- the editor


def test_the_editor_gets_the_text_and_what_it_leaves_becomes_the_prompt() -> None:
    play = started("hello")
    play.take(Action.EDIT)
    (effect,) = play.effects
    assert isinstance(effect, Edit)
    decoded = play.decoded
    play.press(Edited("help me\n"))
    assert paths(play) == [fake.text_to_path("help me")]
    assert play.decoded == decoded + 4, "the common beginning is known"
    play.press(Action.EDIT, Edited(effect.text))
    assert len(play.session.game.prompts) == 1


def test_an_unchanged_or_empty_text_changes_nothing() -> None:
    play = started("hello")
    play.take(Action.EDIT)
    (effect,) = play.effects
    assert isinstance(effect, Edit)
    for text, told in ((effect.text + "\n", "unchanged"), ("", "empty"), ("\n", "empty")):
        play.press(Action.EDIT, Edited(text))
        assert paths(play) == [fake.text_to_path("hello")] and told in play.session.notice
    play.take(EditFailed("no editor"))
    assert play.session.notice == "no editor"


# --- the tree


def drawn(play: Play) -> list[tuple[list[int], int, bool]]:
    """The tree's lines: tokens, level, and whether they hang beside."""
    return [
        ([node.token for node in line.branch.nodes], line.level, line.indented)
        for line in tree_lines(play.session).lines
    ]


def test_the_tree_has_every_path_visited_and_the_latest_goes_on_at_its_level() -> None:
    play = started("hello").press(Action.APPEND, Action.APPEND, Action.POP, Action.POP, Action.DOWN, Action.APPEND)
    path = fake.text_to_path("hello")
    best = fake.ranked(path)[:2]
    first = [best[0], fake.ranked([*path, best[0]])[0]]
    assert drawn(play) == [(path, 0, False), (first, 1, True), ([best[1]], 0, False)]
    play.press(Action.TREE, Action.SORT)
    assert drawn(play) == [(path, 0, False), (first, 1, True), ([best[1]], 1, True)], "the likeliest at the top"
    play.press(Action.CLOSE, Action.POP, Action.TREE, Action.SORT)
    assert drawn(play)[1:] == [(first, 1, True), ([best[1]], 0, False)], "where the prompt is popped, it was there last"


def test_the_tree_does_not_show_what_was_only_looked_ahead_to() -> None:
    play = started("hello", lookahead=4)
    assert play.lookaheads == 4
    assert len(drawn(play)) == 1


def test_enter_goes_there_and_d_opens_it_and_nothing_is_decoded() -> None:
    play = started("hello").press(Action.APPEND, Action.POP, Action.DOWN, Action.APPEND)
    path, decoded = fake.text_to_path("hello"), play.decoded
    best = fake.ranked(path)[:2]
    play.press(Action.TREE, Action.UP, Action.ENTER)
    assert paths(play) == [[*path, best[0]]] and isinstance(play.session.screen, screens.Play)
    play.press(Action.TREE, Action.UP, Action.OPEN)
    assert paths(play) == [[*path, best[0]], [*path, best[1]]] and play.session.game.active == 1
    assert play.decoded == decoded


def test_a_deep_tree_is_no_recursion() -> None:
    root = Node(None, -1)
    node = root.descend(list(range(20_000)))
    node.visit()
    (branch,) = outline(root, ()).branches
    assert len(branch.nodes) == 20_000


# --- prompts


def test_the_list_has_open_prompts_and_starters() -> None:
    play = started("hello").press(Action.COPY)
    play.take(Action.PROMPTS)
    assert any(isinstance(effect, ListStarters) for effect in play.effects)
    play.take(ListedStarters((Starter("a.txt", "abc"), Starter("b.txt", "x"))))
    play.press(Action.UP, Action.ENTER)
    assert play.session.game.active == 0 and isinstance(play.session.screen, screens.Play)
    play.press(Action.PROMPTS, Action.DOWN, Action.DOWN, Action.ENTER)
    assert play.session.game.prompt.tip.path() == fake.text_to_path("abc")
    assert len(play.session.game.prompts) == 3 and play.session.game.active == 1


def test_no_more_prompts_than_there_can_be() -> None:
    play = started("hello", max_prompts=1).press(Action.PROMPTS)
    play.take(ListedStarters((Starter("a.txt", "abc"),)))
    play.press(Action.BOTTOM, Action.ENTER)
    assert len(play.session.game.prompts) == 1 and "the configuration's max_prompts" in play.session.notice


def test_digits_go_to_open_prompts() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Go(0))
    assert play.session.game.active == 0
    play.press(Go(1), Go(7))
    assert play.session.game.active == 1 and "no prompt 8" in play.session.notice
    play.press(Action.PROMPTS, Go(0))
    assert play.session.game.active == 0 and isinstance(play.session.screen, screens.Play)


def test_a_removed_prompt_comes_back_where_it_was_for_nothing() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Go(0), Action.CURSOR_BACK)
    before, decoded = play.session.game.prompts, play.decoded
    play.press(Action.REMOVE)
    assert len(play.session.game.prompts) == 1
    play.press(Action.BRING_BACK)
    assert play.session.game.prompts == before and play.session.game.active == 0 and play.decoded == decoded
    play.press(Action.BRING_BACK)
    assert "no removed prompt" in play.session.notice


# --- keys that mean nothing here


@pytest.mark.parametrize(
    ("keys", "way"),
    [
        ((), r"\? shows the keys, ctrl\+q quits"),
        ((Action.TREE,), "/ finds a line, Esc goes back"),
        ((Action.PROMPTS,), "/ finds a line, Esc goes back"),
        ((Action.HELP,), "Esc goes back"),
    ],
)
def test_a_key_without_meaning_says_so(keys: tuple[Action, ...], way: str) -> None:
    play = started().press(*keys)
    before = play.session
    play.take(Unbound("q"))
    assert re.fullmatch(f"q does nothing here: {way}", play.session.notice)
    assert replace(play.session, notice="") == replace(before, game=replace(before.game, cost=Cost()), notice="")
    play.take(Unbound(""))
    assert play.session.notice.startswith("this key does nothing here")


def test_pasting_where_text_is_not_wanted_says_so() -> None:
    play = started().press(Action.TREE)
    play.take(Typed("text"))
    assert "not wanted here" in play.session.notice and isinstance(play.session.screen, screens.TreeScreen)


# --- what else there is to see


def test_a_path_that_is_not_the_tokenizers_own_is_told_once() -> None:
    play = started("hello")
    tip = play.session.game.prompt.tip
    assert tip.checked and tip.differs is None
    play.take(Action.APPEND)
    play.answer()
    play.session.game.prompt.tip.checked = False
    play.take(Unbound("q"))
    (check,) = play.checks
    play.take(Unbound("q"))
    assert len(play.checks) == 1, "asked once"
    play.take(Checked(check.request, 3))
    assert play.session.game.prompt.tip.differs == 3


def test_palettes_and_the_mouse() -> None:
    play = started()
    seen = [play.press(Action.PALETTE).session.options.palette for _ in Palette]
    assert set(seen) == set(Palette)
    assert play.press(Action.MOUSE).session.options.mouse and not play.press(Action.MOUSE).session.options.mouse


def test_look_ahead_rests_while_one_looks_back_or_types() -> None:
    for action in (Action.CURSOR_BACK, Action.INPUT, Action.SEARCH):
        play = started("hello", lookahead=4)
        tip = play.session.game.prompt.tip
        tip.children.clear()
        play.take(action)
        assert not any(isinstance(request, Lookahead) for request in play.asked)


def test_surprisal() -> None:
    node = Node(Node(None, -1), 3)
    assert node.surprisal is None
    node.attach_taken(TokenLogprob(math.log(0.125), 2))
    assert node.surprisal == pytest.approx(3.0)
    sure = Node(Node(None, -1), 3)
    sure.attach_taken(TokenLogprob(1e-12, 1))
    assert sure.surprisal == 0.0, "rounding is not below zero"
    assert Distribution.of(0.0, [], []).entropy_bits == 0.0


def test_scoring_tells_when_only_some_phrases_begin_with_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIECES, ord("c") % fake.VOCAB, Piece(b"c"))
    play = started().press(Action.INPUT, Typed("a"), Action.SCORE, Typed("b"), Action.SCORE)
    assert play.session.notice == "scored; type another phrase, or Esc"
    play.press(Typed("c"), Action.SCORE)
    assert "only some of the phrases begin with a space" in play.session.notice


def test_autoplay_from_an_inner_place_says_where_it_begins() -> None:
    play = started().press(Action.CURSOR_BACK, Action.AUTOPLAY)
    assert not play.session.game.pressed.autoplay and "Esc goes there" in play.session.notice
    assert play.session.game.prompt.cursor is not None


def test_only_the_phrase_that_does_not_fit_is_left_out() -> None:
    play = started("hello").press(Action.INPUT)
    for text in ("ab", "cde", "f"):
        play.take(Typed(text))
        play.take(Action.SCORE)
    evaluations = 0
    while play.asked:
        request = play.asked.pop(0)
        if isinstance(request, Evaluate) and request.request == play.session.game.pending:
            evaluations += 1
            if len(request.path) > 7:
                play.take(Failed(request.request, "context full (7/7)", 7))
                assert "context full" in play.session.notice and "↑" in play.session.notice
                continue
        wanted = not isinstance(request, Evaluate) or request.request == play.session.game.pending
        if wanted and (reply := play.reply(request)):
            play.take(reply)
    texts = [score.tip.path()[5:] for score in play.session.game.results.scores]
    assert texts == [fake.text_to_path(text) for text in ("ab", "f")] and evaluations >= 2
    assert all(score.logprob is not None for score in play.session.game.results.scores) and play.session.game.ready


# --- commands


@pytest.mark.parametrize(
    "command", [command for command in all_commands() if command.handler], ids=lambda command: command.action.name
)
def test_what_cannot_be_done_says_why_and_changes_nothing(command: Command) -> None:
    play = Play()  # nothing is read yet
    for kind in [kind for kind, row in SCREENS.items() if command in row.commands]:
        play.session = replace(play.session, screen=screen_of(play.session, kind))
        if reason := command.disabled(play.session):
            before = play.session
            play.take(command.action)
            assert play.session == replace(before, notice=reason)


@pytest.mark.parametrize("kind", SCREENS)
def test_no_key_has_two_commands_on_a_screen(kind: type[Screen]) -> None:
    keys = [key for command in SCREENS[kind].commands for key in command.keys]
    assert len(keys) == len(set(keys))
    actions = [command.action for command in SCREENS[kind].commands]
    assert len(actions) == len(set(actions))


def test_a_phrase_that_is_scored_stays_where_something_else_of_it_is_refused() -> None:
    """As the distribution after it, which no row of the comparison shows."""
    play = started().press(Action.INPUT, Typed("w"), Action.SCORE)
    (score,) = play.session.game.results.scores
    assert score.logprob is not None
    purpose = ForEvaluation((score.tip,), score.tip.depth - 1, None)
    play.session = replace(
        play.session, game=replace(play.session.game, open_requests={**play.session.game.open_requests, 99: purpose})
    )
    play.session = replace(play.session, screen=screens.Input(base=score.base, tip=score.tip))
    play.take(Failed(99, "no", 5))
    assert play.session.game.results.scores == (score,)
