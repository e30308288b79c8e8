"""What is read from frames and bytecode."""
