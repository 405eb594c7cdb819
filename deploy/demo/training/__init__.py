"""The stages of the training, in the order in which train.py runs them."""
