"""What was running when time ran out."""
