"""Interfaces to the operating system: files, locks, signals, memory, the console. One module for each."""
