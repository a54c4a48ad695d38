"""Setting a constraint, lifting it, and what is forced under it."""

from array import array

import pytest

from tests import fake
from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import Constrain, Evaluate, Failed, Pong
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import help_found
from tokex_gguf.play.messages import ReadText, TextNotRead, TextRead, Typed
from tokex_gguf.play.purposes import ForForced
from tokex_gguf.play.rules import constraint
from tokex_gguf.play.rules.prompt import nothing_left
from tokex_gguf.play.screens import PLAY, Constraining, Help
from tokex_gguf.ui.lists import score_lines
from tokex_gguf.ui.screen import footer
from tokex_gguf.ui.status import AssistantTurns, status
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.layers import COST, MORE_LAYERS, PLAIN
from tokex_gguf.values.lens import GRAMMAR, RAW, Sampled
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.view import Standing, View


def constrained(text: str) -> Play:
    """A game under a constraint from its prompt's end on."""
    return started().press(Action.CONSTRAINT, Typed(text), Action.ENTER)


def test_a_constraint_holds_from_the_prompts_end_on() -> None:
    play = constrained("02468")
    game, lens = play.session.game, play.session.lens
    assert play.session.screen is PLAY
    assert game.sampling.constraint == Constraint(ConstraintKind.REGEX, "02468")
    assert isinstance(lens, Sampled) and lens.start == game.prompt.tip.depth and lens.stages == (GRAMMAR,)
    view = play.session.view
    assert view is not None and view.left == 5
    assert play.session.options.by_final, "what is legal comes first, however unlikely it is"
    tip = game.prompt.tip
    play.press(Action.APPEND)
    assert play.session.game.prompt.tip is tip.child(view.likeliest[0])
    illegal = [token for token in view.ids if view.verdicts[token].final == 0]
    assert illegal and all(view.verdicts[token].cut_by == 0 for token in illegal)


def test_the_start_stays_while_one_goes_on_and_moves_with_what_is_popped() -> None:
    play = constrained("02468")
    begins = play.session.game.prompt.begins
    play.press(Action.APPEND, Action.APPEND, Action.COPY)
    assert play.session.game.prompt.begins == begins
    play.press(Action.POP, Action.POP)
    assert play.session.game.prompt.begins == begins
    play.press(Action.POP)
    assert play.session.game.prompt.begins == begins - 1, "it cannot begin behind the prompt's end"


def test_an_existing_text_is_checked_and_its_first_illegal_token_looked_at() -> None:
    play = started("hello").press(Action.CURSOR_FIRST, Action.CURSOR_ON, Action.CONSTRAINT, Typed("05<?"), Action.ENTER)
    prompt = play.session.game.prompt
    assert prompt.cursor is not None and prompt.begins == 1
    assert "the first that is not legal" in play.session.notice
    assert play.session.view is not None, "what was legal there is shown"


def test_what_the_engine_refuses_stays_in_the_line_and_the_one_before_holds() -> None:
    play = constrained("02468").press(Action.CONSTRAINT, Action.ERASE_LINE, Typed("["), Action.ENTER)
    assert play.session.notice == "regex:1:1: unclosed"
    assert on(play.session, Constraining).line.text == "["
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.REGEX, "02468")


def test_an_empty_line_lifts_it() -> None:
    play = constrained("02468").press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "02468", "the present one is there to be changed"
    play.press(Action.ERASE_LINE, Action.ENTER)
    assert not play.session.options.by_final
    assert play.session.game.sampling.constraint is None and play.session.lens == RAW
    assert play.session.screen is PLAY and "no constraint" in play.session.notice


def test_leaving_keeps_the_text_for_the_next_time() -> None:
    play = started().press(Action.CONSTRAINT, Typed("[0-9]"), Action.CLOSE)
    assert play.session.game.sampling.constraint is None
    play.press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "[0-9]"


def test_tab_goes_through_the_kinds() -> None:
    play = started().press(Action.CONSTRAINT)
    kinds = []
    for _ in ConstraintKind:
        kinds.append(on(play.session, Constraining).kind)
        play.press(Action.KIND)
    assert kinds == list(ConstraintKind) and on(play.session, Constraining).kind is kinds[0]


@pytest.mark.parametrize("typed", ["a,b", '["a", "b"]'])
def test_choices_are_typed_with_commas_or_as_json(typed: str) -> None:
    play = started().press(Action.CONSTRAINT, *[Action.KIND] * 4, Typed(typed))
    play.take(Action.ENTER)
    (request,) = [one for one in play.asked if isinstance(one, Constrain)]
    assert request.constraint == Constraint(ConstraintKind.CHOICES, '["a", "b"]')


def test_what_is_forced_is_appended_at_once() -> None:
    play = constrained("7")
    depth = play.session.game.prompt.tip.depth
    play.press(Action.FORCE)
    assert play.session.game.prompt.tip.depth == depth + 3
    assert play.session.notice == "3 tokens forced by the constraint"
    play.more_forced = True
    assert play.press(Action.FORCE).session.notice == "3 tokens forced by the constraint; F again goes on"
    free = constrained("78").press(Action.FORCE)
    assert free.session.game.prompt.tip.depth == depth and "choice" in free.session.notice


def test_without_a_constraint_nothing_is_forced() -> None:
    play = started().press(Action.FORCE)
    assert not play.asked and "no constraint" in play.session.notice


def test_text_that_is_typed_under_a_constraint_is_checked() -> None:
    play = constrained("02468")
    begins = play.session.game.prompt.begins
    play.press(Action.INPUT, Typed("ab"), Action.ENTER)
    assert play.session.game.prompt.begins == begins, "its beginning does not move behind what was typed"


def test_the_same_constraint_again_changes_nothing() -> None:
    play = constrained("02468").press(Action.APPEND, Action.APPEND)
    begins = play.session.game.prompt.begins
    play.press(Action.CONSTRAINT)
    play.take(Action.ENTER)
    assert not play.asked and play.session.screen is PLAY
    assert play.session.game.prompt.begins == begins and f"after token {begins}" in play.session.notice


def test_keys_do_not_land_in_a_constraint_that_is_being_read() -> None:
    play = started().press(Action.CONSTRAINT, Typed("024"))
    play.take(Action.ENTER)
    play.take(Typed("RR"))
    assert on(play.session, Constraining).line.text == "024" and "being read" in play.session.notice
    play.answer()
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.REGEX, "024")


def test_what_was_left_comes_back_in_its_kind() -> None:
    play = started().press(
        Action.CONSTRAINT, Action.KIND, Typed('{"type": "integer"}'), Action.CLOSE, Action.CONSTRAINT
    )
    assert on(play.session, Constraining).kind is ConstraintKind.JSON_SCHEMA


def test_an_illegal_token_that_is_taken_is_told_of() -> None:
    play = constrained("02468").press(Action.ORDER, Action.TOP)
    view = play.session.view
    assert view is not None
    play.press(Action.APPEND)
    cut = view.verdicts[play.session.game.prompt.tip.token].cut_by == 0
    assert ("would not be drawn: grammar cuts it" in play.session.notice) == cut


# --- kinds, files, and what takes time


def test_a_constraint_that_was_lifted_comes_back_in_its_kind() -> None:
    play = started().press(Action.CONSTRAINT, Action.KIND, Action.KIND, Action.KIND, Typed("02468"), Action.ENTER)
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.LARK, "02468")
    play.press(Action.CONSTRAINT, Action.ERASE_LINE, Action.ENTER, Action.CONSTRAINT, Action.EARLIER)
    screen = on(play.session, Constraining)
    assert (screen.line.text, screen.kind) == ("02468", ConstraintKind.LARK), "and not guessed from its text"
    play.press(Action.ENTER)
    assert play.session.game.sampling.constraint == Constraint(ConstraintKind.LARK, "02468")


def test_each_earlier_constraint_has_its_kind_and_so_has_the_one_that_was_typed() -> None:
    play = started()
    for kinds, text in ((0, "0"), (2, "1"), (1, "{2")):  # a regex, a grammar, a schema
        play.press(Action.CONSTRAINT, Action.ERASE_LINE)
        while on(play.session, Constraining).kind is not list(ConstraintKind)[kinds]:
            play.press(Action.KIND)
        play.press(Typed(text), Action.ENTER)
    play.press(Action.CONSTRAINT, Action.ERASE_LINE)
    while on(play.session, Constraining).kind is not ConstraintKind.CHOICES:
        play.press(Action.KIND)
    play.press(Typed("a,b"))
    seen = []
    for step in (Action.EARLIER, Action.EARLIER, Action.EARLIER, Action.LATER, Action.LATER, Action.LATER):
        play.press(step)
        seen.append((on(play.session, Constraining).line.text, on(play.session, Constraining).kind.value))
    back = [("{2", "json-schema"), ("1", "grammar"), ("0", "regex")]
    assert seen == [*back, *back[1::-1], ("a,b", "choices")]


def test_what_was_left_has_its_kind_whatever_it_looks_like() -> None:
    play = started().press(Action.CONSTRAINT, *[Action.KIND] * 4, Typed("{a,b"), Action.CLOSE, Action.CONSTRAINT)
    assert on(play.session, Constraining).kind is ConstraintKind.CHOICES


def test_an_empty_line_takes_the_example() -> None:
    play = started().press(Action.CONSTRAINT, Action.KIND, Action.CARET_RIGHT)
    assert '"answer"' in on(play.session, Constraining).line.text
    play.press(Action.CARET_START, Action.CARET_RIGHT)
    assert on(play.session, Constraining).line.caret == 1, "else it moves the caret"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("schema.json", ConstraintKind.JSON_SCHEMA),
        ("A.GBNF", ConstraintKind.GRAMMAR),
        ("a.lark", ConstraintKind.LARK),
        ("a.txt", ConstraintKind.REGEX),
    ],
)
def test_a_file_is_read_and_its_name_says_its_kind(name: str, kind: ConstraintKind) -> None:
    play = started().press(Action.CONSTRAINT, Typed(f"@{name}"))
    play.take(Action.ENTER)
    assert ReadText(name) in play.effects and not play.asked
    play.take(Typed("x"))
    assert on(play.session, Constraining).line.text == f"@{name}" and "Esc leaves it" in play.session.notice
    play.press(TextRead(name, "02468\n"))
    assert play.session.game.sampling.constraint == Constraint(kind, "02468")
    play.press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "02468", "what is in it can be changed"
    play.press(Action.ERASE_LINE, Action.EARLIER)
    assert on(play.session, Constraining).line.text == f"@{name}", "and it can be read again"


def test_a_file_that_cannot_be_read_is_one_line_and_the_name_stays() -> None:
    play = started().press(Action.CONSTRAINT, Typed("@no.json"), Action.ENTER)
    play.press(TextNotRead("no.json", "no such file"))
    assert play.session.notice == "no.json: no such file"
    assert on(play.session, Constraining).line.text == "@no.json"
    play.press(Typed("x"))
    assert on(play.session, Constraining).line.text == "@no.jsonx"
    play.press(Action.ENTER, TextRead("no.jsonx", " \n"))
    assert "empty" in play.session.notice and play.session.game.sampling.constraint is None
    play.press(Action.ERASE_LINE, Typed("@"), Action.ENTER)
    assert "file's name" in play.session.notice


def test_a_file_that_is_read_after_esc_sets_nothing() -> None:
    play = started().press(Action.CONSTRAINT, Typed("@a.json"), Action.ENTER, Action.CLOSE)
    play.press(TextRead("a.json", "{}"))
    assert play.session.game.sampling.constraint is None and not play.asked
    play.press(Action.CONSTRAINT, TextRead("a.json", "{}"))
    assert on(play.session, Constraining).line.text == "@a.json"


def test_esc_while_a_constraint_is_read_leaves_all_as_it_was() -> None:
    play = started().press(Action.CONSTRAINT, Typed("02468"))
    play.take(Action.ENTER)
    assert "reading" in play.session.notice and "Esc" in play.session.notice
    play.take(Action.CLOSE)
    assert play.session.screen is PLAY
    play.answer()
    assert play.session.game.sampling.constraint is None
    play.press(Action.CONSTRAINT)
    assert on(play.session, Constraining).line.text == "02468"


def test_a_constraint_is_asked_for_while_the_prompt_is_evaluated() -> None:
    play = Play("hello").press()
    while not play.session.game.prompts:
        play.take(play.reply(play.asked.pop(0)) or Pong())
    evaluation = play.asked.pop()
    assert isinstance(evaluation, Evaluate) and play.session.game.pending is not None
    play.take(Action.CONSTRAINT)
    play.take(Typed("02468"))
    play.take(Action.ENTER)
    (request,) = play.asked
    assert isinstance(request, Constrain), "it does not wait for the evaluation, and does not end it"
    shown = "".join(text for _, text in status(play.session, 120, AssistantTurns()))
    assert "0/5 tokens  reading the constraint" in shown
    play.answer()
    assert play.session.game.sampling.constraint and play.session.game.pending is not None
    play.asked.append(evaluation)
    play.answer()
    assert play.session.game.ready and play.session.view is not None


# --- scored phrases


def scored(*phrases: str) -> Play:
    """Phrases that are scored under a constraint that allows the tokens ` _`, ` <` and ` ?`."""
    play = constrained("_<?").press(Action.INPUT)
    for phrase in phrases:
        play.press(Typed(phrase), Action.SCORE)
    return play


def marks(play: Play, width: int) -> list[tuple[str, str]]:
    """What of each phrase is struck through, and what the constraint says of it."""
    found = []
    for line in score_lines(play.session, width, 12)[1:]:
        struck = "".join(text for style, text in line if "class:cut" in style)
        told = "".join(text for style, text in line if "class:cut" not in style).split()
        if told[-1:] in (["legal"], ["breaks"]) and "←" not in told:
            found.append((struck, told[-1]))
    return sorted(found)


@pytest.mark.parametrize("width", [52, 79])
def test_scored_phrases_say_whether_they_are_legal_and_where_they_break(width: int) -> None:
    play = scored("oo", "oxo", "xo")
    assert marks(play, width) == [("", "legal"), (" h _", "breaks"), ("␣h _", "breaks")]
    assert play.session.game.ready and not play.session.game.waiting, "nobody waits for that"
    notes = ["".join(text for _, text in line).split() for line in score_lines(play.session, 79, 14)]
    assert [note[0] for note in notes if note[-3:] == ["←", "not", "legal"]] == ["␣h"], "of the last one, at its token"
    limits = {play.session.limit_of(score) for score in play.session.game.results.scores}
    assert [limit.start for limit in limits if limit] == [play.session.game.prompt.begins]


@pytest.mark.parametrize("width", [52, 79])
def test_a_phrase_that_breaks_out_of_sight_is_not_struck_through(width: int) -> None:
    assert marks(scored("o" * 40 + "x"), width) == [("", "breaks")]


def test_a_legal_blank_before_the_token_that_breaks_is_not_struck_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for char, data in ("b", b" "), ("x", b"12"), ("e", b"e"), ("m", "\u0301".encode()):
        monkeypatch.setitem(fake.PIECES, fake.text_to_path(char)[0], Piece(data))
    assert marks(scored("oobx"), 79) == [("12", "breaks")]
    play = constrained("_e").press(Action.INPUT, Typed("oem"), Action.SCORE)
    assert marks(play, 79) == [("e\u0301", "breaks")], "a mark goes with the letter that it is drawn on"


def test_another_constraint_is_another_question_and_no_constraint_is_none() -> None:
    play = scored("xo").press(Action.CLOSE, Action.CONSTRAINT, Action.ERASE_LINE, Typed("h_"), Action.ENTER)
    assert marks(play, 79) == [], "who does not see the phrases asks nothing about them"
    play.press(Action.INPUT)
    assert [told for _, told in marks(play, 79)] == ["legal"]
    play.press(Action.CLOSE, Action.CONSTRAINT, Action.ERASE_LINE, Action.ENTER, Action.INPUT)
    assert marks(play, 79) == [] and "grammar" not in "".join(text for _, text in score_lines(play.session, 79, 9)[0])


def test_a_phrase_that_the_engine_refuses_is_not_asked_about_again() -> None:
    play = constrained("_<?").press(Action.INPUT, Typed("oo"))
    play.take(Action.SCORE)
    while not isinstance(play.asked[-1], Constrain):
        play.take(play.reply(play.asked.pop(0)) or Pong())
    asked = play.asked.pop()
    assert isinstance(asked, Constrain)
    notice = play.session.notice
    play.press(Failed(asked.request, "too complex"))
    assert marks(play, 79) == [] and play.session.notice == notice
    assert not any(isinstance(one, Constrain) for one in play.asked)


# --- the way to what it costs


def test_under_a_constraint_the_first_of_the_other_layers_is_its_cost() -> None:
    play = constrained("02468")
    assert play.session.notice == "regex 02468: it holds from here on; space plays on, E shows its cost"
    play.press(Action.APPEND, Action.MORE_LAYERS)
    assert play.session.options.layer is COST
    assert "the constraint cost 0.00 bits; n looks at the token that cost most" in play.session.notice
    names = [COST.name]
    while play.session.options.layer is not PLAIN:
        play.press(Action.MORE_LAYERS)
        names.append(play.session.options.layer.name)
    assert sorted(names) == sorted([*MORE_LAYERS, PLAIN.name]), "and each comes once"
    free = started().press(Action.MORE_LAYERS)
    assert free.session.options.layer.name == next(iter(MORE_LAYERS)) and not free.session.notice


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("schema", Action.CONSTRAINT),
        ("json", Action.CONSTRAINT),
        ("grammar", Action.CONSTRAINT),
        ("regex", Action.CONSTRAINT),
        ("constraint", Action.CONSTRAINT),
        ("cost", Action.CONSTRAINT),
    ],
)
def test_the_help_leads_to_a_constraint_and_its_cost(words: str, first: Action) -> None:
    found = [entry.command.action for entry in help_found(Help(over=PLAY, line=EMPTY.typed(words))) if entry.command]
    assert found[0] is first
    if words == "cost":
        assert Action.NEXT_SURPRISAL in found, "and to the key that goes to where it cost most"
        assert Action.MORE_LAYERS in found


def footer_of(play: Play, width: int, rows: int) -> str:
    return " ".join("".join(text for _, text in line) for line in footer(play.session, width, rows))


def test_the_footer_has_rolls_and_constraints_where_there_is_room() -> None:
    assert " C constrain" in footer_of(started(), 130, 2) and " R roll" in footer_of(started(), 130, 2)
    narrow = footer_of(started(), 80, 2)
    for key in ("→ append", "← pop", "space play", "d copy", "e colour", "? help", "^q quit"):
        assert key in narrow, "the beginners' keys stay"
    under = footer_of(constrained("02468"), 80, 2)
    for key in ("→ append", "← pop", "space play", "C constrain", "E cost", "? help", "^q quit"):
        assert key in under


@pytest.mark.parametrize(
    ("standing", "left", "forced"),
    [
        (Standing.OPEN, "nothing is left to draw from: S shows what cut it", "there is a choice here"),
        (Standing.ENDED, "nothing is left to draw from: S shows what cut it", "the text must end here"),
        (Standing.BROKEN, "nothing is legal after token 12, which breaks the constraint", "after token 12"),
        (Standing.STUCK, "nothing that can come here is legal", "nothing that can come here is legal"),
    ],
)
def test_where_nothing_goes_on_it_is_said_why(standing: Standing, left: str, forced: str) -> None:
    play = constrained("02468")
    lens = play.session.lens
    assert isinstance(lens, Sampled)
    tip, none = play.session.game.prompt.tip, (array("i"), array("d"), array("b"))
    broken = 11 if standing is Standing.BROKEN else -1
    play.session.game.known.lens_results.attach(lens, tip, View(0, 0.0, 0.0, 0.0, (), standing, broken, *none))
    assert nothing_left(play.session).startswith(left)
    session, _ = constraint.forced(play.session, ForForced(tip, lens), [], more=False)
    assert forced in session.notice
