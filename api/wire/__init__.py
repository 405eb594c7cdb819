"""The wire protocol: what requests may look like and what answers look like."""
