"""Programs that hang, each in its own way; what they print is kept beside them, in ``*.txt``."""
