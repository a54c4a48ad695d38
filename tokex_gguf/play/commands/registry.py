"""Every screen's row, and what is looked up in them: a key's command, footer, help."""

from collections.abc import Sequence

from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, HelpEntry, ScreenRow, unread
from tokex_gguf.play.commands import footer, reasons
from tokex_gguf.play.commands.answers import ANSWER_LIST, ANSWER_PATTERN, ANSWER_STOP, CRITICAL_LEAD, CRITICAL_LIST
from tokex_gguf.play.commands.common import CARET, COLON, ERASING, EVERYWHERE, GO, helping, leaving, rows
from tokex_gguf.play.commands.drawing import BAN, CONSTRAINING, DRAW_COUNT, SEED
from tokex_gguf.play.commands.lists import (
    MODELS,
    NEW_PROMPT,
    PROMPT_NAME,
    PROMPTS,
    SECOND_MODELS,
    SESSIONS,
    list_search_row,
)
from tokex_gguf.play.commands.questions_and_signs import QUESTIONS, SIGNS
from tokex_gguf.play.commands.samplers import SAMPLER_TEXT, SAMPLER_VALUE, SAMPLERS, SAMPLERS_TO_ADD
from tokex_gguf.play.commands.tree import TREE, TREE_SEARCH
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules import (
    ahead,
    bias,
    chain,
    command_line,
    constraint,
    cursor,
    dice,
    editing,
    fan_out,
    find,
    help_screen,
    insertion,
    lists,
    model_switch,
    prompt,
    second_model,
    sessions,
    text_entry,
    tree,
    undo,
    versus,
    view_options,
)
from tokex_gguf.play.rules.prompt import UNREAD
from tokex_gguf.play.screens import Help, Screen
from tokex_gguf.play.session import LOADING, Session
from tokex_gguf.play.versus import ALONE
from tokex_gguf.values.key_names import shown
from tokex_gguf.values.layers import ENTROPY, LAYERS, MORE_LAYERS, SURPRISAL, listed
from tokex_gguf.values.samplers import KINDS
from tokex_gguf.values.text_field import TextField

_cannot_replace_found = reasons.either(unread, text_entry.cannot_replace_found)


def _exchange(session: Session) -> Outcome:
    return second_model.exchange(session) if session.game.versus is not ALONE else ahead.take_word(session)


def _of(screen: Screen) -> Sequence[Command]:
    return SCREENS[type(screen)].commands


_LEAVING = leaving(text_entry.close, "Go back; nothing is changed, and the text comes back the next time.")

_PLAYING: tuple[Command, ...] = (
    Command(
        Action.UP,
        prompt.select(-1),
        ("up", "k"),
        "Table",
        "row",
        "Select the token above.",
        footer=70,
        disabled=reasons.nothing_to_choose,
    ),
    Command(
        Action.DOWN,
        prompt.select(1),
        ("down", "j"),
        "Table",
        "row",
        "Select the token below.",
        footer=70,
        disabled=reasons.nothing_to_choose,
    ),
    Command(Action.PAGE_UP, prompt.select(-prompt.PAGE), ("pageup",), "Table", "page up", "Select ten rows up."),
    Command(Action.PAGE_DOWN, prompt.select(prompt.PAGE), ("pagedown",), "Table", "page down", "Select ten rows down."),
    Command(Action.TOP, prompt.select(-prompt.ALL), ("home", "g"), "Table", "top", "Select the most likely token."),
    Command(
        Action.BOTTOM, prompt.select(prompt.ALL), ("end", "G"), "Table", "bottom", "Select the last token of the table."
    ),
    Command(
        Action.APPEND,
        prompt.append,
        ("right", "l", "enter"),
        "Tokens",
        "append",
        "Append the selected token to the prompt. Inside the prompt, open a new one that goes on with it from there.",
        footer=90,
        now=footer.inside(90, "branch"),
        disabled=reasons.nothing_to_choose,
    ),
    Command(
        Action.POP,
        prompt.pop,
        ("left", "h", "backspace"),
        "Tokens",
        "pop",
        "Pop the prompt's last token. It becomes the selected row, so that → takes it back.",
        footer=90,
        now=footer.inside(0, ""),
    ),
    Command(
        Action.AUTOPLAY,
        prompt.autoplay,
        (" ",),
        "Tokens",
        "play",
        "Append the most likely token again and again, until a key is pressed. With samplers, tokens are drawn.",
        footer=45,
        now=footer.playing,
    ),
    Command(
        Action.SAMPLERS,
        chain.open_chain,
        ("S",),
        "Sampling",
        "samplers",
        "Open the sampler chain beside the table: what each sampler cuts, and its values.",
        footer=44,
        words=f"chance wrong why {' '.join(row.title for row in KINDS.values())}",
        disabled=reasons.no_samplers,
    ),
    Command(
        Action.ROLL,
        dice.roll,
        ("R",),
        "Sampling",
        "roll",
        "Draw a token from what the samplers leave, and append it; inside the prompt, open a new one. The number drawn "
        "depends on seed and path.",
        footer=17,
        words="dice sample random",
        disabled=reasons.cannot_draw,
    ),
    Command(
        Action.DRAW_MANY,
        dice.draw_many,
        ("c-r",),
        "Sampling",
        "draw many",
        "Draw a hundred times without moving, and count what comes. Again, and it counts on.",
        disabled=reasons.cannot_draw,
    ),
    Command(
        Action.CONSTRAINT,
        constraint.open_constraint,
        ("C",),
        "Sampling",
        "constrain",
        "Set, change or lift a constraint on what follows: a regex, a JSON schema, a grammar, choices. "
        "E shows what it costs.",
        footer=19,
        words="limit force cost",
        now=footer.limited(46, "constrain"),
        disabled=reasons.cannot_constrain,
    ),
    Command(
        Action.FORCE,
        constraint.force,
        ("F",),
        "Sampling",
        "forced",
        "Append all tokens that the constraint leaves no choice in.",
        disabled=reasons.cannot_constrain,
    ),
    Command(
        Action.DRAW,
        dice.draw,
        (),
        "Sampling",
        "draw",
        "Draw as often as you type, without moving, and count what comes.",
        disabled=reasons.cannot_draw,
    ),
    Command(
        Action.SEED,
        dice.seed,
        (),
        "Sampling",
        "seed",
        "Set the seed of the draws: the same seed, samplers and path draw the same again.",
        disabled=reasons.cannot_sample,
    ),
    Command(
        Action.LIKELIER,
        bias.step(1),
        ("+",),
        "Sampling",
        "bias",
        "Make the selected token likelier: add to its logit, step by step. It lifts a ban as well.",
        disabled=reasons.cannot_bias,
    ),
    Command(
        Action.UNLIKELIER,
        bias.step(-1),
        ("-",),
        "Sampling",
        "bias",
        "Make the selected token less likely, step by step; the last step bans it.",
        disabled=reasons.cannot_bias,
    ),
    Command(
        Action.BAN,
        bias.ban,
        (),
        "Sampling",
        "ban",
        "Ban a text: every token that spells it, also with a space before it.",
        disabled=reasons.cannot_ban,
    ),
    Command(Action.UNBAN, bias.unban, (), "Sampling", "unban", "Lift all bans.", disabled=reasons.cannot_sample),
    Command(
        Action.ORDER,
        versus.order,
        ("O",),
        "Sampling",
        "order",
        "Sort the table by what the samplers leave, and by the model's own probabilities again; while you compare, by "
        "the size of the changes.",
        disabled=reasons.cannot_order,
    ),
    Command(
        Action.UNDO,
        undo.undo,
        ("u",),
        "Tokens",
        "undo",
        "Undo what was done last: tokens appended or popped, prompts opened, edited or removed, sampling changed.",
        footer=38,
    ),
    Command(Action.REDO, undo.redo, ("U",), "Tokens", "redo", "Redo what was undone last."),
    Command(
        Action.CURSOR_BACK,
        cursor.step(-1),
        (",", "s-left"),
        "Look back",
        "look",
        "Look at the token before.",
        footer=69,
    ),
    Command(
        Action.CURSOR_ON, cursor.step(1), (".", "s-right"), "Look back", "look", "Look at the token after.", footer=69
    ),
    Command(
        Action.CURSOR_FAR_BACK, cursor.step(-cursor.FAR), ("<", "c-s-left"), "Look back", "far", "Look ten tokens back."
    ),
    Command(
        Action.CURSOR_FAR_ON, cursor.step(cursor.FAR), (">", "c-s-right"), "Look back", "far", "Look ten tokens on."
    ),
    Command(Action.CURSOR_FIRST, cursor.first, ("s-home", "["), "Look back", "first", "Look at the first token."),
    Command(
        Action.CURSOR_TIP,
        model_switch.escape,
        ("escape", "s-end", "]"),
        "Look back",
        "tip",
        "Go back to the prompt's end.",
        now=footer.inside(89, "end"),
        disabled=reasons.never,
    ),
    Command(
        Action.NEXT_SURPRISAL,
        versus.jump_by_layer(1),
        ("n",),
        "Look back",
        "jump",
        "Look at the next token of high surprisal (highest tenth); in the layers reachable and cost, that was cut or "
        "cost most; in delta, of the greatest change.",
        footer=67,
    ),
    Command(
        Action.PREVIOUS_SURPRISAL,
        versus.jump_by_layer(-1),
        ("N",),
        "Look back",
        "jump",
        "Look at the previous token of high surprisal, or that was cut, or of high cost; the next greater change.",
    ),
    Command(
        Action.NEXT_ENTROPY,
        cursor.jump(ENTROPY, 1, lambda _: 0.0),
        ("m",),
        "Look back",
        "jump",
        "Look at the next place of high entropy, where the model was uncertain: one of the highest tenth.",
        footer=67,
    ),
    Command(
        Action.PREVIOUS_ENTROPY,
        cursor.jump(ENTROPY, -1, lambda _: 0.0),
        ("M",),
        "Look back",
        "jump",
        "Look at the previous place of high entropy.",
    ),
    Command(
        Action.HIGHEST_SURPRISAL,
        cursor.most(SURPRISAL),
        ("b",),
        "Look back",
        "most",
        "Look at the token of the highest surprisal, #1. Press again for #2 and so on; n goes on from there.",
    ),
    Command(
        Action.HIGHEST_ENTROPY,
        cursor.most(ENTROPY),
        ("B",),
        "Look back",
        "most",
        "Look at the place of the highest entropy, #1: most uncertain. Again for #2 and so on; m goes on from there.",
    ),
    Command(
        Action.FIND,
        text_entry.find_text,
        ("f",),
        "Look back",
        "find",
        "Find text in the prompt, and look at it.",
        footer=33,
    ),
    Command(
        Action.SEARCH,
        text_entry.search,
        ("/",),
        "Any token",
        "search",
        "Search the whole vocabulary, sorted by probability here.",
        footer=66,
        disabled=reasons.cannot_search,
    ),
    Command(
        Action.INPUT,
        text_entry.compose,
        ("i",),
        "Any token",
        "type",
        "Type text to go on with, also inside the prompt. See how likely it is; score it against other phrases.",
        footer=68,
        disabled=reasons.at_first_token,
    ),
    Command(
        Action.ANSWERS,
        fan_out.open_list,
        ("W",),
        "Any token",
        "answers",
        "Which answers may follow, how likely is each, and how sure is it that these are all? Looks for them, the "
        "likeliest first.",
        footer=43,
        words="fan-out coverage mass enumerate which",
        disabled=reasons.cannot_fan_out,
    ),
    Command(
        Action.EDIT,
        text_entry.edit,
        ("c-e",),
        "Any token",
        "edit",
        "Open the prompt's text in $EDITOR. What is unchanged keeps its tokens.",
    ),
    Command(
        Action.REPLACE,
        editing.replace_token,
        ("K",),
        "Edit inside",
        "replace",
        "Put the selected token in place of the one that is looked at and keep what follows, in a new prompt.",
        now=footer.inside(87, "replace"),
        disabled=reasons.cannot_replace,
    ),
    Command(
        Action.DELETE_TOKEN,
        editing.delete_token,
        ("delete",),
        "Edit inside",
        "delete",
        "Delete the token that is looked at and keep what follows, in a new prompt.",
        now=footer.inside(64, "delete"),
        disabled=reasons.cannot_delete,
    ),
    Command(
        Action.INSERT,
        insertion.open_insert,
        ("I",),
        "Edit inside",
        "insert",
        "Type text before the token that is looked at, or in place of some, and keep what follows, in a new prompt.",
        now=footer.inside(65, "insert"),
        disabled=reasons.cannot_insert,
    ),
    Command(
        Action.RETOKENIZE,
        editing.retokenize,
        ("T",),
        "Edit inside",
        "retokenize",
        "Tokenize the prompt's text as the tokenizer does it, where its tokens are others, in a new prompt.",
        now=footer.cut_otherwise(63, "retokenize"),
        disabled=reasons.cannot_retokenize,
    ),
    Command(
        Action.CLEAR_SCORES,
        text_entry.clear_scores,
        ("c-l",),
        "Any token",
        "clear scores",
        "Forget the phrases that were scored.",
    ),
    Command(
        Action.NEXT,
        prompt.cycle(1),
        ("w",),
        "Prompts",
        "prompt",
        "Go to the next prompt.",
        footer=50,
        disabled=reasons.is_alone,
    ),
    Command(
        Action.PREVIOUS,
        prompt.cycle(-1),
        ("s",),
        "Prompts",
        "prompt",
        "Go to the previous prompt.",
        footer=50,
        disabled=reasons.is_alone,
    ),
    Command(Action.COPY, prompt.copy, ("d",), "Prompts", "copy", "Add a copy of the prompt and go to it.", footer=52),
    Command(
        Action.REMOVE,
        prompt.remove,
        ("a",),
        "Prompts",
        "drop",
        "Remove the prompt (the last one stays).",
        footer=40,
        disabled=reasons.removes_nothing,
    ),
    Command(
        Action.BRING_BACK,
        prompt.bring_back,
        ("A",),
        "Prompts",
        "bring back",
        "Bring the prompt back that was removed last.",
    ),
    GO,
    Command(
        Action.PROMPTS,
        lists.prompts,
        ("p",),
        "Prompts",
        "list",
        "List the open prompts, and texts to start with. There n begins a new one: type or paste its text.",
        footer=41,
        words="open file second another new text paste",
    ),
    Command(
        Action.VERSUS,
        versus.versus,
        ("v",),
        "Compare",
        "compare",
        "Compare the prompt, A, with the one it was made from, or choose B: which makes the rest likelier, by how many "
        "bits, token by token and in one table. Again ends it.",
        now=footer.compares,
        words="differ phrasing instruction label word change",
        disabled=reasons.cannot_compare,
    ),
    Command(
        Action.FLIP,
        versus.flip,
        ("D",),
        "Compare",
        "flip",
        "Look at the first token in whose place A and B disagree on the most likely one: a flip. Again, at the next.",
        now=footer.comparing(66, "flip"),
        disabled=reasons.cannot_flip,
    ),
    Command(
        Action.SWAP,
        _exchange,
        ("tab",),
        "Compare",
        "swap",
        "Go to B, at the same place: it is A then. With another model, all keys are that one's. With P, take up a word "
        "of what most likely follows.",
        words="ghost complete word",
        now=footer.taking,
        disabled=reasons.cannot_exchange,
    ),
    Command(Action.TREE, tree.tree, ("t",), "Prompts", "tree", "Show all paths visited so far as a tree.", footer=34),
    Command(
        Action.LAYER,
        view_options.layer(LAYERS),
        ("e",),
        "View",
        "colour",
        f"Colour the prompt: {listed(LAYERS.values())}, and plain again.",
        footer=80,
        disabled=reasons.never,
    ),
    Command(
        Action.MORE_LAYERS,
        view_options.more_layers,
        ("E",),
        "View",
        "more layers",
        f"Colour it {listed(MORE_LAYERS.values())}, and plain again. Under a constraint, what it costs comes first.",
        words="cost reachable",
        now=footer.limited(47, "cost"),
        disabled=reasons.never,
    ),
    Command(
        Action.AHEAD,
        ahead.column,
        ("L",),
        "View",
        "ahead",
        "Show or hide the text that most likely follows each row, from 100 columns.",
        words="lookahead continuation leads",
    ),
    Command(
        Action.GHOST,
        ahead.ghost,
        ("P",),
        "View",
        "ghost",
        "Show or hide, after the prompt's end, the selected token and what most likely follows it. tab takes it up, "
        "word by word.",
        words="lookahead continuation complete preview",
    ),
    Command(
        Action.PALETTE,
        view_options.palette,
        ("c",),
        "View",
        "palette",
        "Other colours: standard, colour-blind safe, monochrome.",
        disabled=reasons.never,
    ),
    Command(
        Action.MOUSE,
        view_options.mouse,
        ("z",),
        "View",
        "mouse",
        "Let clicks and the wheel choose tokens, or stop it.",
        disabled=reasons.never,
    ),
    Command(
        Action.SAVE,
        view_options.save,
        ("x",),
        "Files",
        "save",
        "Save the prompt as text into prompts/.",
        footer=30,
        disabled=reasons.never,
    ),
    Command(
        Action.NAME,
        text_entry.name,
        ("c-s",),
        "Files",
        "name",
        "Give this session a name, to come back to it with --session NAME.",
    ),
    Command(
        Action.SESSIONS,
        sessions.open_list,
        ("y",),
        "Files",
        "sessions",
        "Go on with another session, as one of yesterday; this one is saved.",
        footer=18,
        disabled=reasons.never,
    ),
    Command(
        Action.MODELS,
        model_switch.models,
        ("o",),
        "Program",
        "model",
        "Play with another model on this machine.",
        footer=26,
        disabled=reasons.never,
    ),
    Command(
        Action.VERSUS_MODEL,
        second_model.versus_model,
        ("V",),
        "Compare",
        "versus model",
        "Compare with another model on this machine, loaded beside this one; again ends it.",
        footer=16,
        words="quantisation quantization two models differ",
        disabled=reasons.cannot_compare_models,
    ),
    Command(
        Action.PART,
        second_model.part,
        (),
        "Compare",
        "part",
        "Let both models go on by their most likely tokens until they differ, and show both ways.",
        words="quantisation quantization two models apart diverge",
    ),
    Command(
        Action.RESTART,
        second_model.restart,
        ("r",),
        "Program",
        "restart engine",
        "Start an engine again that has stopped or is silent, or reconnect; pressed twice, also one that is at work.",
        now=footer.without_engine(100, "restart engine", "reconnect"),
        disabled=reasons.never,
    ),
    COLON,
    helping("?", "f1", footer=95),
    *EVERYWHERE,
)

_SEARCHING: tuple[Command, ...] = (
    *rows(text_entry.select_found, "Search", "token", "rows", letters=False),
    Command(
        Action.APPEND,
        text_entry.append_found,
        ("right", "enter"),
        "Search",
        "append",
        "Append the selected token. Inside the prompt, open a new one that goes on with it from there.",
        footer=90,
        now=footer.inside(90, "branch"),
    ),
    Command(
        Action.REPLACE,
        text_entry.replace_by_found,
        ("c-k",),
        "Search",
        "replace",
        "Inside the prompt, put the selected token in place of the one that is looked at and keep what follows.",
        now=footer.inside(88, "replace"),
        disabled=_cannot_replace_found,
    ),
    Command(
        Action.EARLIER,
        text_entry.walk(-1),
        ("c-p",),
        "Search",
        "earlier",
        "Back to what was searched for before; ↑ does the same from the first row, while nothing is typed.",
    ),
    Command(Action.LATER, text_entry.walk(1), ("c-n",), "Search", "later", "On to what was searched for after it."),
    *ERASING,
    *_LEAVING,
)

_TYPING: tuple[Command, ...] = (
    Command(
        Action.ENTER,
        text_entry.enter,
        ("enter",),
        "Typing",
        "append",
        "Append what is typed. Inside the prompt, open a new one that goes on with it from there.",
        footer=90,
        now=footer.inside(90, "branch"),
    ),
    Command(
        Action.SCORE,
        text_entry.score,
        ("c-p",),
        "Typing",
        "score",
        "Score it instead: it becomes a row among the phrases that are compared.",
        footer=88,
    ),
    Command(
        Action.CLEAR_SCORES,
        text_entry.clear_scores,
        ("c-l",),
        "Typing",
        "clear scores",
        "Forget the phrases.",
        footer=40,
    ),
    *CARET,
    *ERASING,
    *_LEAVING,
)

_INSERTING: tuple[Command, ...] = (
    Command(
        Action.ENTER,
        insertion.enter,
        ("enter",),
        "Typing",
        "put in",
        "Put what is typed into the prompt, before the token that is looked at or in place of those taken in. "
        "What follows is kept.",
        footer=90,
    ),
    Command(
        Action.TAKE_IN,
        insertion.take_in(1),
        ("tab",),
        "Typing",
        "take in",
        "Take in the next token: what is typed takes its place. Its text stands in the line, to be changed.",
        footer=88,
    ),
    Command(Action.GIVE_BACK, insertion.take_in(-1), ("s-tab",), "Typing", "give back", "Give the last token back."),
    *CARET,
    *ERASING,
    *_LEAVING,
)

_FINDING: tuple[Command, ...] = (
    Command(Action.UP, find.step(-1), ("up", "c-p"), "Find", "match", "Look at the match before.", footer=70),
    Command(Action.DOWN, find.step(1), ("down", "c-n"), "Find", "match", "Look at the next match.", footer=70),
    Command(Action.ENTER, text_entry.stay, ("enter",), "Find", "stay", "Go on looking there.", footer=90),
    *ERASING,
    *_LEAVING,
)

_NAMING: tuple[Command, ...] = (
    Command(
        Action.ENTER, text_entry.keep_session, ("enter",), "Name", "keep", "Give the session this name.", footer=90
    ),
    *ERASING,
    *_LEAVING,
)


def _entries(screen: Screen) -> list[HelpEntry]:
    return help_entries(type(screen))


_HELP: tuple[Command, ...] = (
    Command(Action.UP, help_screen.scroll(-1, _entries), ("up",), "Help", "select", "One line up.", footer=70),
    Command(Action.DOWN, help_screen.scroll(1, _entries), ("down",), "Help", "select", "One line down.", footer=70),
    Command(Action.PAGE_UP, None, ("pageup",), "Help", "page", "One page up.", footer=60),
    Command(Action.PAGE_DOWN, None, ("pagedown",), "Help", "page", "One page down.", footer=60),
    Command(Action.TOP, help_screen.scroll(-prompt.ALL, _entries), ("home",), "Help", "top", "To the beginning."),
    Command(Action.BOTTOM, help_screen.scroll(prompt.ALL, _entries), ("end",), "Help", "end", "To the end."),
    Command(Action.ENTER, help_screen.run(_entries), ("enter",), "Help", "do it", "Do what is selected.", footer=90),
    *(
        Command(row.action, help_screen.edit_line(change, _entries), row.keys, "Help", row.label, row.help)
        for row, change in zip(ERASING, (TextField.erased, TextField.word_erased, TextField.cleared), strict=True)
    ),
    Command(
        Action.CLOSE,
        help_screen.close,
        ("escape", "f1"),
        "Program",
        "close",
        "Close the help, as ? does where nothing is typed.",
        footer=99,
    ),
    *EVERYWHERE,
)

_COMMANDING: tuple[Command, ...] = (
    *rows(lambda lines: command_line.select(lines, _of), "Commands", "command", "commands", letters=False),
    Command(Action.ENTER, command_line.run(_of), ("enter",), "Commands", "do", "Do the selected command.", footer=90),
    *ERASING,
    *leaving(command_line.close, "Go back; nothing is done."),
)

SCREENS: dict[type[Screen], ScreenRow] = {
    screens.Play: ScreenRow(
        "Playing",
        _PLAYING,
        SIGNS,
        QUESTIONS,
        typed=text_entry.paste,
        pick_row=prompt.pick_row,
        pick_token=cursor.point,
    ),
    screens.Search: ScreenRow(
        "Searching the vocabulary (`/`)",
        _SEARCHING,
        (
            ("rank", "Of all tokens of the vocabulary, not only of those found."),
            ('" the"', "In double quotes white space counts: it finds ␣the, but not other."),
            ("␣ ⏎ ⇥", "May be typed as they are shown, for a space, a line break and a tab."),
            ("a number", "Finds the token of that id as well."),
        ),
        typed=text_entry.typed,
        pick_row=text_entry.pick_found,
    ),
    screens.Input: ScreenRow(
        "Typing (`i`)",
        _TYPING,
        (
            (
                "joint p",
                "The probability of all tokens of the phrase, one after the other, after what stands before them.",
            ),
            ("ln p", "Its natural logarithm."),
            ("share", "The phrase's part of the probability of all that were scored at the same place."),
            ("odds", "So many times less likely than the best of them."),
            ("after …", "What stands before the phrases below it. Only phrases after the same text are compared."),
            (
                "legal, breaks",
                "Whether the constraint allows the phrase; what is not legal is struck through.",
            ),
        ),
        typed=text_entry.typed,
    ),
    screens.Insert: ScreenRow(
        "Typing inside the prompt (`I`)",
        _INSERTING,
        (
            ("before ␣the", "The text goes before that token."),
            ("in place of 2 tokens", "It takes the place of those that are marked in the prompt."),
        ),
        typed=text_entry.typed,
    ),
    screens.Find: ScreenRow(
        "Finding text in the prompt (`f`)",
        _FINDING,
        (("2 of 5", "The second of five matches. Upper and lower case are the same."),),
        typed=text_entry.typed,
    ),
    screens.Name: ScreenRow("Naming the session (`ctrl+s`)", _NAMING, typed=text_entry.typed),
    screens.Ban: BAN,
    screens.Seed: SEED,
    screens.DrawCount: DRAW_COUNT,
    screens.Tree: TREE,
    screens.AnswerList: ANSWER_LIST,
    screens.AnswerStop: ANSWER_STOP,
    screens.AnswerPattern: ANSWER_PATTERN,
    screens.CriticalList: CRITICAL_LIST,
    screens.CriticalLead: CRITICAL_LEAD,
    screens.TreeSearch: TREE_SEARCH,
    screens.Prompts: PROMPTS,
    screens.ListSearch: list_search_row(_of),
    screens.NewPrompt: NEW_PROMPT,
    screens.Constraining: CONSTRAINING,
    screens.PromptName: PROMPT_NAME,
    screens.Models: MODELS,
    screens.SecondModels: SECOND_MODELS,
    screens.Sessions: SESSIONS,
    screens.Samplers: SAMPLERS,
    screens.SamplersToAdd: SAMPLERS_TO_ADD,
    screens.SamplerValue: SAMPLER_VALUE,
    screens.SamplerText: SAMPLER_TEXT,
    screens.Commands: ScreenRow(
        "Commands by their names (`:`)", _COMMANDING, typed=text_entry.typed, pick_row=command_line.pick(_of)
    ),
    screens.Help: ScreenRow(
        "The help (`?`): typing filters it",
        _HELP,
        typed=help_screen.typed(_entries),
        pick_row=help_screen.pick(_entries),
    ),
}
"""Each screen's row, in the order of the docs."""


def help_entries(kind: type[Screen]) -> list[HelpEntry]:
    """What the help tells of a screen: questions, then by topic keys and what they do, signs and what they mean."""
    row = SCREENS[kind]
    by_action = {command.action: command for command in row.commands}
    asked = [HelpEntry("Questions", keys, text, by_action[action]) for keys, action, text in row.questions]
    topics = list(dict.fromkeys(command.topic for command in row.commands))
    commands = sorted(row.commands, key=lambda command: topics.index(command.topic))
    keys = [HelpEntry(command.topic, keys_of(command), command.help, command) for command in commands]
    return [*asked, *keys, *(HelpEntry("What the screen shows", sign, meaning) for sign, meaning in row.signs)]


def help_found(screen: Help) -> list[HelpEntry]:
    """What the help shows: what has the words that are typed."""
    return help_screen.found(screen, _entries)


def of(screen: Screen, action: Action) -> Command | None:
    """A screen's command for an action."""
    return next((command for command in SCREENS[type(screen)].commands if command.action is action), None)


def action(screen: Screen, key: str) -> Action | None:
    """What a key does on a screen."""
    return next((command.action for command in SCREENS[type(screen)].commands if key in command.keys), None)


def all_commands() -> list[Command]:
    """Those of all screens; what several have, once."""
    return list(dict.fromkeys(command for row in SCREENS.values() for command in row.commands))


def found(session: Session) -> list[Command]:
    """The commands that have what is typed behind `:`."""
    return command_line.found(session, _of)


_ARROWS = "↑↓←→"


def keys_of(command: Command) -> str:
    """All keys of a command, as on a keyboard.

    >>> keys_of(of(screens.PLAY, Action.GO))
    '1…9'

    One without keys is typed:

    >>> keys_of(of(screens.PLAY, Action.SEED))
    ':seed'
    """
    if not command.keys:
        return f":{command.name}"
    if len(command.keys) > 3 and all(key.isdigit() for key in command.keys):
        return f"{shown(command.keys[0])}…{shown(command.keys[-1])}"
    return " ".join(map(shown, command.keys))


def hints(session: Session) -> list[tuple[int, str, str]]:
    """What the footer shows: importance, keys and label, neighbours of one label joined.

    What cannot be done now is left out, unless that ends by itself.
    """
    shortest: list[tuple[int, str, str]] = []
    for command in SCREENS[type(session.screen)].commands:
        importance, label = command.now(session) or (command.footer, command.label)
        if not importance or command.disabled(session) not in ("", UNREAD, LOADING):
            continue
        key = shown(command.keys[0]).replace("ctrl+", "^")
        if shortest and shortest[-1][2] == label:
            importance, before, label = shortest[-1]
            between = "" if before in _ARROWS else "/"
            shortest[-1] = (importance, f"{before}{between}{key}", label)
        else:
            shortest.append((importance, key, label))
    return shortest
