"""What the tests share: real processes, a real receiver, and waiting with a deadline."""
