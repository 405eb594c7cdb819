"""What operators tell this worker to do. It hears of an order by how often it was given, with every beat."""

import logging
from collections.abc import Callable, Mapping

from shared.ledger import Order

logger = logging.getLogger(__name__)

RESTARTING = (Order.RESTART, Order.UPDATE)


class Orders:
    """Follows each order once per time that it is given; what was given before this worker began is old.

    To restart it waits for its turn, so that not all workers are away at once.
    """

    def __init__(
        self, updates: int, *, clear_cache: Callable[[], object], restart: Callable[[], object]
    ) -> None:
        """`updates`: how often one was ordered before this worker read its settings."""
        self._updates = updates
        self._clear_cache = clear_cache
        self._restart = restart
        self._heard: Mapping[str, int] | None = None
        self._restart_wanted = False

    @property
    def restart_wanted(self) -> bool:
        """It was ordered, and has not begun."""
        return self._restart_wanted

    def hear(self, given: Mapping[str, int]) -> None:
        before, self._heard = self._heard, given
        if (
            before is None
        ):  # starting takes a while, and an update that was ordered meanwhile is not in it yet
            before = {**given, Order.UPDATE: self._updates}
        new = {order for order in Order if given.get(order, 0) > before.get(order, 0)}
        if Order.CLEAR_CACHE in new:
            logger.info("order followed", extra={"order": Order.CLEAR_CACHE})
            self._clear_cache()
        self._restart_wanted |= not new.isdisjoint(RESTARTING)

    def restart(self) -> None:
        logger.info("order followed", extra={"order": Order.RESTART})
        self._restart_wanted = False
        self._restart()
