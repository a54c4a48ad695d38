"""Measures the program against the limits of the machine: `uv run python -m benchmarks`."""
