"""`OPTION=--`: argparse would take the value for the end of the options."""

import argparse

import pytest

from tokex_gguf.cli.arguments import make_parser, parsed
from tokex_gguf.system.console import Exit

OF_A_VALUE = [
    action
    for action in make_parser()._actions
    if action.option_strings and action.nargs is None and action.option_strings[0].startswith("-")
]


@pytest.mark.parametrize("action", OF_A_VALUE, ids=lambda action: action.option_strings[-1])
def test_two_dashes_are_a_value_like_any_other(action: argparse.Action) -> None:
    option = action.option_strings[-1]

    def said(value: str) -> object:
        """The option's value, or the message."""
        try:
            return getattr(parsed([f"{option}={value}"]), action.dest)
        except Exit as error:
            return str(error)

    assert repr(said("--")).replace("--", "..") == repr(said("..")).replace("--", ".."), "as two dots are"


def test_the_end_of_the_options_is_still_one() -> None:
    assert parsed(["--json", "--", "--plain"]).json
    assert parsed(["--prompt=--"]).prompt == "--"
