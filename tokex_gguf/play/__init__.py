"""The pure core: the session, the messages, and `update`, the one place where the session changes."""
