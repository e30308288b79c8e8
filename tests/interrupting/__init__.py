"""Where an interrupt comes, and what a block makes of one, with every enforcer."""
