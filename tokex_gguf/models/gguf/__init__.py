"""The GGUF file format: reading it, checking it, what its metadata says."""
