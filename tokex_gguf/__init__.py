"""See what a language model would say next, token by token, and be its sampler."""

__version__ = "0.1.0"

COMMANDS = ("models", "pull", "sessions", "cache", "doctor", "completion", "help")
"""What can stand first on the command line; nothing is played then."""
