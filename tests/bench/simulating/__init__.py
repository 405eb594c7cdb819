"""Simulated servers that share jobs by the real choice code: `python -m tests.bench.simulate`."""
