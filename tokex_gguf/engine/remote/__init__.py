"""An engine over a model that a server has: another process, like the worker, without numpy and llama.cpp."""
