"""One lock for all loading of weights in this process. The engine's thread never takes it."""

import threading

LOADING = threading.Lock()
"""diffusers and transformers swap torch's initialisers for the whole process while they build a model, so two
loads at once would undo each other's."""
