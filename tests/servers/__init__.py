"""Several servers at once: whole installations that give each other jobs."""
