"""Webhook receivers that do all that receivers do."""

from pathlib import Path

from tests.chaos.scenarios.receivers import MOODS, moody_receivers


def test_every_webhook_is_taken_in_the_end_whatever_its_receiver_did(tmp_path: Path) -> None:
    moody_receivers(tmp_path, jobs=8 * len(MOODS)).require_clean()
