"""What operators tell this worker to do. It hears of an order by how often it was given, with every beat."""

import logging
from collections.abc import Callable, Mapping

from shared.ledger import Order

logger = logging.getLogger(__name__)


class Orders:
    """Follows each order once per time that it is given; what was given before this worker began is old."""

    def __init__(self, actions: Mapping[Order, Callable[[], object]]) -> None:
        self._actions = actions
        self._heard: Mapping[str, int] | None = None

    def hear(self, given: Mapping[str, int]) -> None:
        before, self._heard = self._heard, given
        if before is None:
            return
        for order, act in self._actions.items():
            if given.get(order, 0) > before.get(order, 0):
                logger.info("order followed", extra={"order": order})
                act()
