"""The rules of the game: what each message changes. `update` is their only way in."""
