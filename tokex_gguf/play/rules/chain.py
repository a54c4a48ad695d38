"""The sampler chain: its lines, values, order and presets; reading and copying other programs' chains."""

from collections.abc import Callable
from itertools import count, islice
from typing import NamedTuple

from tokex_gguf.play.game import Game, Sampling
from tokex_gguf.play.messages import CopyOut, Outcome
from tokex_gguf.play.rules.bias import of_vocabulary
from tokex_gguf.play.rules.histories import history, put_aside, used_up, with_history
from tokex_gguf.play.rules.prompt import TYPED_BEFORE
from tokex_gguf.play.rules.selection import or_play
from tokex_gguf.play.screens import PLAY, Samplers, SamplersToAdd, SamplerText, SamplerValue
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.lens import GRAMMAR, LOGIT_BIAS, Raw, lens_of
from tokex_gguf.values.model_sampling import chain_of_metadata
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.record import replace
from tokex_gguf.values.sampler_text import flags_of, json_of, read_flags, read_json
from tokex_gguf.values.samplers import DEFAULT, KINDS, NO_CHAIN, PRESETS, Chain, Kind, Parameter, Sampler
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.view import NOT_CUT, Stage

FAR_STEPS = 10
"""Steps that one key can go at once."""
MOST_CHARACTERS = 30
"""Characters of a number: what is pasted may be longer."""
MOST_KEPT = 9
"""The most chains of the player's own that stay among the presets."""
OFFERED = "llama.cpp"
"""The preset that an empty chain is offered."""


class ChainLine(NamedTuple):
    """A line of the chain."""

    stage: str
    """The name of what cuts there, as in `Sampled.stages`."""
    kind: Kind | None = None
    """The sampler; None: the line of the constraint, or of biased tokens, yours and the model's own."""
    parameter: int = 0
    """The index of the sampler's parameter."""


def lines(game: Game) -> list[ChainLine]:
    """The lines of a game's chain in the order of application, one for each parameter."""
    sampling = game.sampling
    constraint = [ChainLine(GRAMMAR)] if sampling.constraint else []
    bias = [ChainLine(LOGIT_BIAS)] if biased(game) else []
    samplers = [
        ChainLine(sampler.row.title, sampler.kind, index)
        for sampler in sampling.chain.samplers
        for index in range(len(sampler.values))
    ]
    return [*constraint, *bias, *samplers]


def biased(game: Game) -> int:
    """How many tokens have a bias; where anything acts, including those that the model's file bans."""
    sampling = game.sampling
    own = game.suppressed if sampling.constraint or sampling.chain.acting != NO_CHAIN else ()
    return len(sampling.chain.bias) + sum(token not in sampling.chain.biases for token in own)


def length(session: Session) -> int:
    """How many lines the chain has."""
    return len(lines(session.game))


def selected(session: Session) -> ChainLine | None:
    """The selected line; None where there is none."""
    screen = session.on(Samplers) or session.on(SamplerValue)
    chain_lines = lines(session.game)
    return chain_lines[min(screen.row, len(chain_lines) - 1)] if screen and chain_lines else None


def what_it_did(session: Session) -> dict[str, tuple[Stage, Stage]]:
    """The state of the shown table before and after each stage, by the stage's name; empty until known."""
    lens, node = session.lens, session.game.prompt.place.tip
    screen = session.on(Samplers)
    if session.view is None and screen and not isinstance(lens, Raw):
        lens = screen.shown_lens
    if isinstance(lens, Raw) or node.distribution is None or session.game.model is None:
        return {}
    view = session.game.known.lens_results.view(lens, node)
    if view is None:
        return {}
    first = Stage(session.game.model.vocab_size, 1.0, node.distribution.entropy_bits)
    return dict(zip(lens.stages, zip((first, *view.stages), view.stages, strict=False), strict=False))


def cuts_alone(session: Session) -> tuple[int, bool] | None:
    """The token selected in the table, and whether the selected sampler would cut it if it were the only sampler.

    None for a sampler that cuts nothing, and where the kept candidates do not decide it.
    """
    line, place = selected(session), session.game.prompt.place
    before, rows = place.tip.distribution, table(session, place)
    sampler = session.game.sampling.chain.get(line.kind) if line and line.kind else None
    if sampler is None or sampler.kind is Kind.TEMPERATURE or before is None or not rows:
        return None
    lens, row = lens_of(Chain((sampler,))), rows[selected_row(session, place)]
    if isinstance(lens, Raw) or not decidable(lens):
        return None
    # Samplers see the first answer, even where a comparison shows a strict one.
    numbers = place.tip.taken_after(row.token)
    cut_stage = None if numbers is None else cut_by(lens, before, numbers)
    return None if cut_stage is None else (row.token, cut_stage != NOT_CUT)


# --- the screen


def open_chain(session: Session) -> Outcome:
    """Shows the chain. Selected is the line from the last time, at first one of a sampler that acts."""
    places = [(line.stage, line.parameter) for line in lines(session.game)]
    last_line = session.sampler
    row = places.index(last_line) if last_line in places else _first(session.game)
    return replace(session, screen=Samplers(row=row, shown_lens=session.lens)), []


def close(session: Session) -> Outcome:
    """Back to the table."""
    return replace(_with_line_kept(session), screen=PLAY), []


def _with_line_kept(session: Session) -> Session:
    """Stores the selected line, for when the chain is shown again."""
    line = selected(session)
    return replace(session, sampler=(line.stage, line.parameter)) if line else session


def _first(game: Game) -> int:
    """The line of the first sampler that acts."""
    acting = {sampler.kind for sampler in game.sampling.chain.acting.samplers}
    return next((index for index, line in enumerate(lines(game)) if line.kind in acting), 0)


def _with_chain(session: Session, chain: Chain, notice: str = "", keep: ChainLine | None = None) -> Outcome:
    """Sets another chain. The selected line, or `keep`, stays selected if the chain still has it."""
    screen = session.on(Samplers)
    shown_lens = session.lens if screen is None or session.view or isinstance(session.lens, Raw) else screen.shown_lens
    keep = keep or selected(session)
    game = replace(session.game, sampling=replace(session.game.sampling, chain=chain))
    chain_lines = lines(game)
    row = max(0, min(_row(session), len(chain_lines) - 1)) if keep else _first(game)
    row = chain_lines.index(keep) if keep in chain_lines else row
    session = replace(session, game=game, notice=notice)
    return session.turned(Samplers(row=row, shown_lens=shown_lens)), []


def _row(session: Session) -> int:
    screen = session.on(Samplers) or session.on(SamplerValue)
    return screen.row if screen else 0


# --- values


def no_line(session: Session) -> str:
    """Why no line is selected; empty where one is."""
    return "" if selected(session) else f"the chain is empty: Enter puts {OFFERED}'s samplers there, a adds one"


def cannot_remove(session: Session) -> str:
    """Why the selected line cannot be removed; empty where it can."""
    line = selected(session)
    return no_value(session) if line is None or line.stage == GRAMMAR else ""


def no_value(session: Session) -> str:
    """Why the selected line has no value that can be changed; empty where it has one."""
    line = selected(session)
    if line is None:
        return no_line(session)
    if line.stage == LOGIT_BIAS and line.kind is None:
        own = session.game.suppressed
        if not own:
            return "biased tokens: + and - on a row of the table change them, Del takes all away"
        bans = f"the model's file bans {len(own)}, as in llama.cpp's programs"
        return f"biased tokens: {bans}; + and - on a row of the table make more, Del takes those away"
    return "" if line.kind else "the constraint comes before all samplers: C changes it, back at the table"


def _parameter(session: Session) -> tuple[ChainLine, Sampler, Parameter]:
    """The selected line, its sampler, and the parameter there."""
    line = selected(session)
    assert line is not None and line.kind is not None
    sampler = session.game.sampling.chain.get(line.kind)
    assert sampler is not None
    return line, sampler, sampler.row.parameters[line.parameter]


def change(steps: int) -> Callable[[Session], Outcome]:
    """Changes the selected value by some steps."""

    def go(session: Session) -> Outcome:
        if reason := no_value(session):
            return replace(session, notice=reason), []
        line, sampler, parameter = _parameter(session)
        before = sampler.values[line.parameter]
        value = parameter.step(before, steps)
        if (value - before) * steps <= 0:
            return replace(session, notice=_at_the_end(parameter, before, up=steps > 0)), []
        return _set(session, sampler.with_value(line.parameter, value))

    return go


def _at_the_end(parameter: Parameter, value: float, *, up: bool) -> str:
    end = parameter.most if up else parameter.least
    if value == end:
        return _range(parameter)
    return f"the steps end here: type a number, {'up' if up else 'down'} to {parameter.text(end)}"


def _range(parameter: Parameter) -> str:
    return f"{parameter.flag} goes from {parameter.text(parameter.least)} to {parameter.text(parameter.most)}"


def _set(session: Session, sampler: Sampler) -> Outcome:
    """Sets a sampler's value; the notice says if the sampler is off."""
    notice = "" if sampler.on else f"{sampler.row.title} is switched off: space switches it on"
    return _with_chain(session, session.game.sampling.chain.with_sampler(sampler), notice)


def offers_preset(session: Session) -> bool:
    """Whether the chain has no samplers and no other line that can be typed into: a constraint's cannot."""
    line = selected(session)
    return line is None or (line.stage == GRAMMAR and not session.game.sampling.chain.samplers)


def begin_number(session: Session) -> Outcome:
    """Begins to type a value in place of the selected one; where there are no samplers, inserts the offered preset."""
    if offers_preset(session):
        return _with_chain(session, replace(DEFAULT, bias=session.game.sampling.chain.bias))
    if reason := no_value(session):
        return replace(session, notice=reason), []
    line, sampler, parameter = _parameter(session)
    typed = EMPTY.typed(parameter.exactly(sampler.values[line.parameter]))
    return replace(session, screen=SamplerValue(row=_row(session), line=replace(typed, selected=True))), []


def typed(session: Session, text: str) -> Outcome:
    """Handles a digit, which begins a number, or pasted text: a number, or another program's chain."""
    if not _begins_number(text):
        return _read(session, text)
    if reason := no_value(session):
        return replace(session, notice=reason), []
    return replace(session, screen=SamplerValue(row=_row(session), line=EMPTY.typed(text.strip()))), []


def _begins_number(text: str) -> bool:
    text = text.strip()
    return text != "" and len(text) <= MOST_CHARACTERS and set(text) <= set("0123456789.-") and text != "--"


def set_number(session: Session) -> Outcome:
    """Sets the typed value."""
    screen = session.on(SamplerValue)
    assert screen is not None
    text = screen.line.text.strip()[:MOST_CHARACTERS]
    if not text or no_value(session):
        return leave_number(session)
    line, sampler, parameter = _parameter(session)
    try:
        value = parameter.parsed(text)
    except ValueError as error:
        return replace(session, notice=str(error)), []
    session, effects = _set(session, sampler.with_value(line.parameter, value))
    if value != float(text):  # llama.cpp takes it so
        session = replace(session, notice=f"{_range(parameter)}: {text} is taken as {parameter.text(value)}")
    return replace(session, screen=or_play(session, session.screen)), effects


def leave_number(session: Session) -> Outcome:
    """Returns to the chain; the value stays as it was."""
    back = Samplers(row=_row(session), shown_lens=session.lens)
    return replace(session, screen=or_play(session, back)), []


def value_hint(session: Session) -> str:
    """The range of the value that is being typed."""
    if no_value(session):
        return ""
    line, sampler, parameter = _parameter(session)
    name = sampler.row.title if line.parameter == 0 else f"{sampler.row.title} {parameter.label}"
    return f"{name}: {parameter.text(parameter.least)} to {parameter.text(parameter.most)} "


# --- samplers


def switch(session: Session) -> Outcome:
    """Switches the selected sampler off, or on."""
    if reason := no_value(session):
        return replace(session, notice=reason), []
    line, sampler, _ = _parameter(session)
    if sampler.on and not sampler.acts:  # switching it off would change nothing
        return replace(session, notice=_idle(sampler, line.parameter)), []
    sampler = sampler.switched()
    notice = _idle(sampler, line.parameter) if sampler.on else ""
    return _with_chain(session, session.game.sampling.chain.with_sampler(sampler), notice)


def _idle(sampler: Sampler, selected: int = 0) -> str:
    """A line saying that a sampler does nothing at its values, and what makes it act; empty where it acts."""
    if sampler.acts:
        return ""
    awakening = sampler.awakening
    if awakening is None:
        return f"{sampler.row.title} does nothing at these values: ← and → change them"
    index, step = awakening
    parameter, value = sampler.row.parameters[index], sampler.values[index]
    name, target = parameter.label, parameter.text(parameter.step(value, step))
    hint = f"{'→' if step > 0 else '←'} {target}" if index == selected else f"{target} there"
    return f"{sampler.row.title} does nothing at {name} {parameter.text(value)}: {hint} switches it on"


def move(step: int) -> Callable[[Session], Outcome]:
    """Moves the selected sampler in the order."""

    def go(session: Session) -> Outcome:
        if reason := no_value(session):
            return replace(session, notice=reason), []
        chain = session.game.sampling.chain
        line, sampler, _ = _parameter(session)
        index = chain.samplers.index(sampler) + step
        if not 0 <= index < len(chain.samplers):
            return replace(session, notice=f"this is the {'first' if step < 0 else 'last'} sampler"), []
        for moved in (sampler, chain.samplers[index]):
            if moved.row.chooses:
                return replace(session, notice=f"{moved.row.title} chooses the token itself: it stays last"), []
        return _with_chain(session, chain.moved(sampler.kind, step), keep=line)

    return go


def remove(session: Session) -> Outcome:
    """Removes the selected sampler; on the line of biased tokens, their bias."""
    line, chain = selected(session), session.game.sampling.chain
    assert line is not None  # see `cannot_remove`
    if line.kind is None:
        own = session.game.suppressed
        but = ", but those that the model's file bans" if own else ""
        return _with_chain(session, replace(chain, bias=()), f"no token has a bias any more{but}")
    return _with_chain(session, chain.without(line.kind), f"{line.stage} is removed: a adds it again")


def missing(session: Session) -> list[Kind]:
    """The samplers that the chain lacks."""
    return [kind for kind in KINDS if session.game.sampling.chain.get(kind) is None]


def missing_length(session: Session) -> int:
    """How many samplers the chain lacks."""
    return len(missing(session))


def list_missing(session: Session) -> Outcome:
    """Lists the samplers that the chain lacks."""
    if not missing(session):
        return replace(session, notice="the chain has all samplers"), []
    return replace(_with_line_kept(session), screen=SamplersToAdd()), []


def add(session: Session) -> Outcome:
    """Adds the selected sampler at its place in llama.cpp's order, with llama.cpp's values."""
    screen, kinds = session.on(SamplersToAdd), missing(session)
    if screen is None or not kinds:
        return leave_missing(session)
    sampler = Sampler.of(kinds[min(screen.row, len(kinds) - 1)])
    chain = session.game.sampling.chain.with_sampler(sampler)
    return _with_chain(session, chain, _idle(sampler), ChainLine(sampler.row.title, sampler.kind))


def leave_missing(session: Session) -> Outcome:
    """Returns to the chain; nothing is added."""
    return open_chain(session)


# --- presets


def _unbiased(chain: Chain) -> Chain:
    """A chain without biases, as presets are compared: biases stay with any preset."""
    return replace(chain, bias=())


def presets(game: Game) -> dict[str, Chain]:
    """All presets by their names: those built in, the model's own, the configuration's, and the player's own."""
    model = _unbiased(chain_of_metadata(game.model.sampling)) if game.model else NO_CHAIN
    own = game.sampling.own
    named = [
        *PRESETS.items(),
        ("the model's own", model),
        *((name, _unbiased(chain)) for name, chain in game.settings.presets),
        *(("yours" if len(own) == 1 else f"yours {number}", chain) for number, chain in enumerate(own, 1)),
    ]
    by_name: dict[str, Chain] = {}
    for name, chain in named:
        if chain in by_name.values():  # a duplicate would end the cycle through the presets
            continue
        numbered = (f"{name} ({number})" for number in count(2))
        by_name[next(free for free in (name, *islice(numbered, len(named))) if free not in by_name)] = chain
    return by_name


def _with_chain_kept(sampling: Sampling, game: Game) -> Sampling:
    """Adds the chain to the presets, so that it can be replaced and found again."""
    chain = _unbiased(sampling.chain)
    return sampling if chain in presets(game).values() else replace(sampling, own=(*sampling.own, chain)[-MOST_KEPT:])


def preset(session: Session) -> Outcome:
    """Sets the next preset. The present chain becomes a preset first, so that the key leads back to it."""
    sampling = _with_chain_kept(session.game.sampling, session.game)
    session = replace(session, game=replace(session.game, sampling=sampling))
    named_chains = list(presets(session.game).items())
    index = [chain for _, chain in named_chains].index(_unbiased(sampling.chain))
    following = (index + 1) % len(named_chains)
    name, chain = named_chains[following]
    notice = f"preset {following + 1} of {len(named_chains)}: {name}"
    return _with_chain(session, replace(chain, bias=sampling.chain.bias), notice)


# --- other programs


def copy_out(session: Session) -> Outcome:
    """Copies the chain to the clipboard as flags, and writes it to a file as flags and JSON."""
    chain = session.game.sampling.chain
    flags = flags_of(chain)
    return replace(session, notice="copying"), [CopyOut(flags, f"{flags}\n\n{json_of(chain)}\n")]


def read_in(session: Session) -> Outcome:
    """Begins to type flags or JSON, with the unfinished text from the last time."""
    session = _with_line_kept(session)
    before = history(session, SamplerText)
    notice = TYPED_BEFORE if before.unfinished else ""
    session = with_history(session, SamplerText, replace(before, unfinished=""))
    return replace(session, screen=SamplerText(line=EMPTY.typed(before.unfinished)), notice=notice), []


def take_in(session: Session) -> Outcome:
    """Reads the typed text."""
    screen = session.on(SamplerText)
    assert screen is not None
    if not screen.line.text.strip():
        return leave_text(session)
    return _read(session, screen.line.text)


def _read(session: Session, text: str) -> Outcome:
    """Replaces the chain, which stays among the presets, by another program's. Text that is no chain can be edited."""
    text = text.strip()
    try:
        reading = read_json(text) if text.startswith("{") else read_flags(text)
    except ValueError as error:
        screen = session.on(SamplerText) or SamplerText(line=EMPTY.typed(text))
        return replace(session, screen=screen, notice=str(error)), []
    session = used_up(session) if session.on(SamplerText) else session
    sampling = _with_chain_kept(session.game.sampling, session.game)
    session = replace(session, game=replace(session.game, sampling=sampling))
    chain = reading.chain if reading.chain.bias else replace(reading.chain, bias=sampling.chain.bias)
    chain, missing = of_vocabulary(chain, session.game.model.vocab_size) if session.game.model else (chain, "")
    notice = "; ".join(filter(None, ["read", *reading.remarks, missing, "p leads back to the chain before"]))
    session, effects = _with_chain(session, chain, notice)
    return replace(session, screen=or_play(session, session.screen)), effects


def leave_text(session: Session) -> Outcome:
    """Returns to the chain; the text comes back the next time."""
    notice = "the text is kept: i brings it back" if session.line.text else ""
    session, effects = open_chain(put_aside(session))
    return replace(session, screen=or_play(session, session.screen), notice=notice), effects
