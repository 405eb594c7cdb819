"""The processes behind the gateway: the GPU worker and the dispatcher."""
