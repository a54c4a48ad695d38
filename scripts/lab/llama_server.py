"""Records what a real llama-server answers, for tests: `uv run scripts/lab/llama_server.py PATH/TO/llama-server`.

It serves the bundled model on this machine alone, and is ended afterwards.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.started import started
from tests.tape import FOLDER, record
from tokex_gguf.models.discovery import bundled_model


def main() -> int:
    """Records; returns an exit code."""
    model = bundled_model()
    if len(sys.argv) != 2 or model is None:
        print(__doc__, file=sys.stderr)
        return 2
    server = Path(sys.argv[1]).resolve()
    # In batches of 48 tokens, its numbers are those of this program's own engine.
    arguments = ["-m", model.name, "-c", "4096", "-t", "1", "-ub", "48", "--port", "{port}"]
    with started([str(server), *arguments], folder=model.parent) as url:
        asked = record(url, FOLDER / "llama-server.jsonl", model=model.name)
    print(asked.dialect.served)
    return 0


if __name__ == "__main__":
    sys.exit(main())
