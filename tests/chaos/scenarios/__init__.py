"""The faults. Each starts an installation, attacks it under load, and reports what became of the jobs."""
