"""Who is told what the engine does."""


class Observer:
    """Hears nothing of it. It is called on the engine's thread, so what overrides these must be short."""

    def ticked(self, work: str, asks: int, seconds: float) -> None:
        """A forward for so many asks; on a GPU its time includes the wait for those queued before."""

    def was_busy(self, seconds: float) -> None:
        """Time that has passed since the last call in which the engine did not wait for work."""

    def ran_out_of_memory(self) -> None:
        """A forward did not fit the device."""
