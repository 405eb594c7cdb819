"""Which Printworks this is."""

from importlib.metadata import version

VERSION = version("printworks")
