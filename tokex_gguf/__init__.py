"""See what a language model would say next, token by token, and be its sampler."""

__version__ = "0.1.0"
