"""Faults against real processes: what is accepted is done, once, whatever is killed.

`scenarios/` holds the faults; tests run them short, `python -m tests.chaos` (`make chaos`) long.
"""
