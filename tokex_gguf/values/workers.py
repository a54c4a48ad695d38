"""Lists of RPC workers: llama.cpp's own servers on other machines."""

import re

MOST_WORKERS = 15
"""The most workers and devices of them: llama.cpp has room for 16, and takes one place itself."""
FORM = "HOST:PORT with commas between, each once, a port from 1 to 65535"
"""The format of a list."""
_WORKER = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?):([0-9]{1,5})")


def workers_of(text: str) -> tuple[str, ...]:
    """Parses a list of HOST:PORT with commas between. Raises ValueError.

    >>> workers_of("127.0.0.1:50052, lab-2:50052")
    ('127.0.0.1:50052', 'lab-2:50052')
    """
    workers: list[str] = []
    for one in text.split(","):
        name = one.strip()
        match = _WORKER.fullmatch(name)
        if match is None or not 0 < int(match[2]) < 1 << 16:
            raise ValueError(f"expected {FORM}, got {_short(name)}")
        if name in workers:
            raise ValueError(f"expected {FORM}, got {name} twice")
        workers.append(name)
    if len(workers) > MOST_WORKERS:
        raise ValueError(f"{len(workers)} workers: llama.cpp takes {MOST_WORKERS} at the most")
    return tuple(workers)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
