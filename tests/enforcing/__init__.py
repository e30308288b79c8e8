"""What interrupts a block, kills a process, or ends children."""
