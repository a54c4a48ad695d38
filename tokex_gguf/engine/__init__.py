"""The engine: a process of its own that owns the model, the KV cache and all numerics.

`client` is the other process's side of it; everything else here but `protocol`
runs in the engine process, which `python -m tokex_gguf.engine` starts.
"""
