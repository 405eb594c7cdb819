"""What the answers of the protocol's endpoints must be, as its pages and clients have them."""

import re
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.pictures import download_picture

SIDE = 64
"""Of the pictures that are sent and asked for."""

Said = dict[str, Any]
Outcome = Callable[[Said], None]
"""Fails if an answer is not the right one."""


def a_picture(said: Said) -> None:
    """One, of the size that was asked for."""
    assert said["status"] == "success", said
    assert isinstance(said["id"], int)
    assert [download_picture(link).size for link in said["output"]] == [(SIDE, SIDE)]
    assert said["meta"]["prompt"]


def a_film(said: Said) -> None:
    assert said["status"] == "success", said
    (link,) = said["output"]
    assert httpx.get(link).headers["content-type"] == "video/mp4"


def a_larger_picture(said: Said) -> None:
    assert said["status"] == "success", said
    assert download_picture(said["output"]).size == (3 * SIDE, 3 * SIDE)


def a_result(said: Said) -> None:
    """Of fetching a job that has succeeded."""
    assert said["status"] == "success", said
    assert isinstance(said["id"], int)
    assert len(said["output"]) == 1


def an_upload(said: Said) -> None:
    assert list(said) == ["status", "message", "image_url"], said
    assert (said["status"], said["message"]) == ("success", "image uploaded")
    assert download_picture(said["image_url"]).size == (SIDE, SIDE)


def a_check(said: Said) -> None:
    assert said["has_nsfw_concept"] == [False], said
    assert "images" in said


def details(said: Said) -> None:
    assert list(said) == ["model_count", "queue_time", "status"], said
    assert said["status"] == "ok"
    assert said["model_count"] >= 1
    assert said["queue_time"] >= 0


def refused(beginning: str) -> Outcome:
    """With a sentence that begins like this."""

    def check(said: Said) -> None:
        assert said["status"] == "error", said
        assert said["message"] == said["messege"]
        assert said["message"].startswith(beginning), said

    return check


def no_such_endpoint(said: Said) -> None:
    """Says so, and which ones there are."""
    refused("This server has no endpoint /api/")(said)
    assert re.search(r" has( endpoints under /api/|: \w+, )", said["message"]), said


def succeeds(message: str) -> Outcome:
    def check(said: Said) -> None:
        assert said == {"status": "success", "message": message}

    return check


def starts(message: str) -> Outcome:
    """A job, which can be fetched."""

    def check(said: Said) -> None:
        assert (said["status"], said["message"]) == ("success", message), said
        assert isinstance(said["id"], int)

    return check


def a_sentence(said: Said) -> None:
    """Whatever it says, it is for people."""
    assert said["status"] in ("success", "error"), said
    assert len(said["message"].split()) > 2, said


def schedulers(said: Said) -> None:
    assert list(said) == ["schedulers"], said
    assert "UniPCMultistepScheduler" in said["schedulers"]


def all_models(said: Said) -> None:
    assert list(said) == ["models", "status"], said
    assert said["status"] == "success"
    assert "demo" in [model["model_id"] for model in said["models"]]
    for model in said["models"]:
        assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", model["load_data"])


MANAGED: dict[str, Outcome] = {
    "restart_server": succeeds("server restarting"),
    "update_server": succeeds("server updating"),
    "clear_cache": succeeds("Cache cleared successfully"),
    "clear_queue": succeeds("Queue cleared, server is restarting"),
    "system_details": details,
}
"""The answers of the routes that every enterprise family has."""


def no_subscriptions(said: Said) -> None:
    assert said == {"status": "success", "subscriptions": []}


ABOUT_MODELS: dict[str, Outcome] = {
    "schedulers_list": schedulers,
    "get_all_models": all_models,
    "verify_model": succeeds("Model exists on server"),
    "delete_model": refused("Model id not found"),
    "load_model": starts("model load started"),
    "load_model_v2": starts("model load started"),
    "load_vae": starts("VAE load started"),
    "sync_models": a_sentence,
    "update_s3": succeeds("S3 details updated successfully"),
    "reset_s3": a_sentence,
    "subscriptions": no_subscriptions,
}
"""Of those about models and files. What is deleted was never there, nor is the server that is synced with."""
