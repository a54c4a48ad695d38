"""Which GGUF file is meant, whether it is sound, and whether it fits into memory."""
