"""Sessions on the disk: their format, writing, reading, listing and pruning them."""
