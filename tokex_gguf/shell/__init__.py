"""What carries the core's effects out: the engine, the editor, files."""
