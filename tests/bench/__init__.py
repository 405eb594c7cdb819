"""Runnable comparisons: `make bench`. Ratios within one run, never a test that passes or fails."""
