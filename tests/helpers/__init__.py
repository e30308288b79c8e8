"""What the tests share: a clock that stands still, a Python of its own, a directory to write test modules into."""
