"""Hints: what a ControlNet of each type wants to see, made from the client's picture."""

from worker.gpu.hints.annotators import FILES
from worker.gpu.hints.forward import HintNetwork, Run, through
from worker.gpu.hints.making import Hint, load_network, make_hint

__all__ = ["FILES", "Hint", "HintNetwork", "Run", "load_network", "make_hint", "through"]
