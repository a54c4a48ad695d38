"""The sampler chain, the constraint and the seed of the command line."""

import argparse
import secrets

from tokex_gguf.cli import inputs
from tokex_gguf.play.game import Sampling
from tokex_gguf.system.console import USAGE, Exit
from tokex_gguf.values.constraint import Constraint, ConstraintKind, choices
from tokex_gguf.values.random_numbers import RANDOM_SEED
from tokex_gguf.values.record import replace
from tokex_gguf.values.sampler_text import RANDOM, read_options


def sampling_of(options: argparse.Namespace, before: Sampling | None) -> tuple[Sampling, tuple[str, ...]]:
    """The sampling of the options, else of a session `before`; and a line for each value that was clamped.

    Raises Exit.

    A new sampling has a random seed, which is shown, so that it can be given the next time.
    """
    constraint = _constraint(options)
    if options.constraint_start is not None and constraint is None:
        raise Exit(
            "--constraint-start is for a constraint: --regex, --json-schema, --grammar, --lark, --choices", USAGE
        )
    if options.predict is not None and options.draw is None:
        raise Exit("--predict is for --draw", USAGE)
    clamped: tuple[str, ...] = ()
    sampling = Sampling(seed=secrets.randbelow(RANDOM_SEED)) if before is None else before
    if options.seed is not None:
        sampling = replace(sampling, seed=secrets.randbelow(RANDOM_SEED) if options.seed == RANDOM else options.seed)
    if options.sampling:
        try:
            reading = read_options(options.sampling)
        except ValueError as error:
            raise Exit(str(error), USAGE) from None
        sampling, clamped = replace(sampling, chain=reading.chain), reading.clamped
    if constraint is None:
        return sampling, clamped
    if any("\ud800" <= char <= "\udfff" for char in constraint.text):
        raise Exit(f"--{constraint.kind}: not UTF-8", USAGE)
    return replace(sampling, constraint=constraint), clamped


def _constraint(options: argparse.Namespace) -> Constraint | None:
    if options.regex is not None:
        return Constraint(ConstraintKind.REGEX, options.regex)
    if options.choices is not None:
        return choices(options.choices)
    files = {
        ConstraintKind.JSON_SCHEMA: options.json_schema,
        ConstraintKind.GRAMMAR: options.grammar,
        ConstraintKind.LARK: options.lark,
    }
    given = ((kind, name) for kind, name in files.items() if name is not None)
    return next((Constraint(kind, inputs.constraint_text(options, f"--{kind}", name)) for kind, name in given), None)
