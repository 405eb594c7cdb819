"""Tells whether the processes of a server would do their part of a request."""

import socket
from collections.abc import Collection

import httpx
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared import ledger
from shared.broker import make_celery
from shared.errors import LedgerUnavailable
from shared.ledger import Ledger, worker_name

HTTP_TIMEOUT_S = 2.0
PING_S = 1.0


class Heartbeats:
    """Asks the ledger for GPU workers."""

    def __init__(self, redis_url: str) -> None:
        self._ledger = Ledger(redis_url)

    def among(self, pids: Collection[int]) -> set[int]:
        """Those that beat. By process ids: a worker that was killed a moment ago is still present in the
        ledger."""
        try:
            beating = self._ledger.run(ledger.stats()).workers
        except LedgerUnavailable:
            return set()
        return {pid for pid in pids if worker_name(pid) in beating}


class Readiness:
    """Asks each process in its own way; never waits for longer than a moment."""

    def __init__(self, gateway_url: str, flower_url: str, redis_url: str) -> None:
        self._gateway_url = gateway_url
        self._pages = {"gateway": f"{gateway_url}/health/ready", "flower": f"{flower_url}/healthcheck"}
        self._heartbeats = Heartbeats(redis_url)
        self._celery = make_celery(redis_url, "printworks-launcher")

    def is_up(self, name: str, pid: int) -> bool:
        if name in self._pages:
            return self._answers(self._pages[name])
        return self._follows_bells(name) if name == "dispatcher" else pid in self._heartbeats.among([pid])

    def sees(self, peers: Collection[str], api_key: str) -> bool:
        """Whether the gateway would give jobs to all of them."""
        if not peers:
            return True
        url, body = f"{self._gateway_url}/api/v1/enterprise/peers", {"key": api_key}
        try:
            said = httpx.post(url, json=body, timeout=HTTP_TIMEOUT_S, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return False
        return {each["name"] for each in said.get("peers", ()) if each["in_rotation"]} >= set(peers)

    def _answers(self, url: str) -> bool:
        try:
            return httpx.get(url, timeout=HTTP_TIMEOUT_S, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _follows_bells(self, node: str) -> bool:
        destination = [f"{node}@{socket.gethostname()}"]
        try:
            return bool(self._celery.control.ping(destination, timeout=PING_S, limit=1))
        except (RedisError, OperationalError, OSError):
            return False
