"""What the terminal sends, and its modes: what prompt_toolkit's own input lacks.

`keyboard()` gives the input for this system. The terminal's modes are put back exactly as they were, also for an
editor or a shell in between, and never while another job has the terminal.
"""

import sys

if sys.platform == "win32":
    from tokex_gguf.ui.terminal_input.windows import Keyboard, keyboard
else:
    from tokex_gguf.ui.terminal_input.posix import Keyboard, keyboard

__all__ = ["Keyboard", "keyboard"]
