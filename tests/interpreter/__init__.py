"""What is read of frames, bytecode and debuggers; and the watchdog."""
