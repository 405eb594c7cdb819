"""The models that a worker holds: loading them, keeping them within memory, and what is attached to them."""
