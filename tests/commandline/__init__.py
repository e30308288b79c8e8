"""The commands, each run in a process of its own."""
