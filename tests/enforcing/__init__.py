"""What interrupts a block, kills a process, or ends children; and how that goes together with others."""
