"""The engine's own process: llama.cpp, the KV cache and all numerics. Nothing outside of it imports it."""
