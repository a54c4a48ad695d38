"""What the operating system is asked for: files, locks, signals, memory, the console. One module for each."""
