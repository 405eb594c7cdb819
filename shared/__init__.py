"""What the gateway, the GPU worker and the dispatcher agree on. Imports neither of them."""
