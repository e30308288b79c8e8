"""Commands, process trees, the deadline that children inherit."""
