"""Requests that mean ill, against a real gateway and a real Redis."""
