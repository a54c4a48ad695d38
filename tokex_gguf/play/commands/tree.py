"""The tree of paths, and its search."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, ScreenRow
from tokex_gguf.play.commands import conditions
from tokex_gguf.play.commands.common import ERASING, leaving, leaving_list, rows
from tokex_gguf.play.rules import lists, text_entry, tree

TREE = ScreenRow(
    "The tree (`t`)",
    (
        *rows(tree.select),
        Command(Action.ENTER, tree.go_there, ("enter",), "List", "go there", "Let the prompt go there.", footer=90),
        Command(Action.OPEN, tree.open_there, ("d",), "List", "open", "Open the place as a new prompt.", footer=86),
        Command(
            Action.FILTER,
            tree.search,
            ("/",),
            "List",
            "find",
            "Find lines by what they say, also those that are folded away.",
            footer=88,
        ),
        Command(
            Action.FOLD,
            tree.fold,
            ("left", "h"),
            "Branches",
            "fold",
            "Fold what goes on from this line. Where nothing does, go to the line that it goes on from.",
            footer=69,
        ),
        Command(
            Action.UNFOLD,
            tree.unfold,
            ("right", "l"),
            "Branches",
            "fold",
            "Unfold the line. Where it is not folded, go to the line that goes on from it.",
            footer=69,
        ),
        Command(
            Action.SORT,
            tree.sort,
            ("O",),
            "Branches",
            "order",
            "Sort the branches: the latest at the bottom, where it goes on without indent, or the likeliest at the "
            "top.",
            footer=50,
        ),
        Command(
            Action.PRUNE,
            tree.prune,
            ("a", "delete"),
            "Branches",
            "prune",
            "Hide the line and all that goes on from it; press twice. With A, or when a prompt goes there, it "
            "comes back.",
            footer=40,
        ),
        Command(Action.GRAFT, tree.graft, ("A",), "Branches", "bring back", "Bring back what was hidden last."),
        *leaving_list(lists.close, "t"),
    ),
    (
        ("first p", "The probability of the line's first token after what it branches from."),
        ("joint p", "That of all the line's tokens, one after the other."),
        ("1 before a line", "Here open prompt 1 ends."),
        ("├", "Another way on from the line above that is less indented; what goes on there is below."),
        ("▸ 12 paths", "So many are folded here."),
        ("above", "The text and the numbers of the selected line."),
    ),
    pick_row=tree.pick,
)

_FOUND = conditions.of_found(tree.found_lines)

TREE_SEARCH = ScreenRow(
    "Finding a path in the tree (`/` there)",
    (
        *rows(tree.select_found, letters=False, now=_FOUND),
        Command(
            Action.ENTER,
            tree.go_to_found,
            ("enter",),
            "List",
            "go there",
            "Let the prompt go there.",
            footer=90,
            now=_FOUND,
        ),
        Command(
            Action.OPEN,
            tree.open_found,
            ("c-d",),
            "List",
            "open",
            "Open the place as a new prompt.",
            footer=86,
            now=_FOUND,
        ),
        *ERASING,
        *leaving(tree.leave_search, "Go back to the whole tree, with the line selected that was found.", label="tree"),
    ),
    typed=text_entry.typed,
    pick_row=tree.pick_found,
)
