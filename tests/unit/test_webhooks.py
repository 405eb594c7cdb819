"""How a webhook's URL is kept until it is called."""

import pytest

from shared.errors import BadRequest, Misconfigured
from shared.jobs import Webhook
from shared.sealing import Sealer
from shared.settings import Settings
from shared.webhooks import url_of, webhook_to

TOKEN = "a-token-that-nobody-may-see"
URLS = {
    "in the query": f"https://hooks.test/in?token={TOKEN}",
    "in the path": f"https://hooks.test/services/{TOKEN}",
    "in the host": f"https://{TOKEN}.hooks.test/",
    "in the fragment": f"https://hooks.test/#{TOKEN}",
}
SEALER = Sealer(Settings(secret_key="a secret of the tests"))
KEYLESS = Sealer(Settings())


def kept(url: str, sealer: Sealer = SEALER) -> Webhook:
    webhook = webhook_to(url, sealer, ())
    assert webhook is not None
    return webhook


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_secret_anywhere_in_the_url_is_sealed_and_comes_back_whole(url: str) -> None:
    webhook = kept(url)

    assert TOKEN not in webhook.model_dump_json()
    assert url_of(webhook, SEALER) == url


def test_without_a_key_it_is_kept_as_it_is() -> None:
    url = URLS["in the query"]

    assert url_of(kept(url, KEYLESS), KEYLESS) == url


@pytest.mark.parametrize("now", ["another secret", None], ids=["another key", "no key"])
def test_what_another_key_sealed_is_a_clear_error(now: str | None) -> None:
    with pytest.raises(Misconfigured, match="PRINTWORKS_SECRET_KEY"):
        url_of(kept(URLS["in the query"]), Sealer(Settings(secret_key=now)))


def test_a_receiver_is_a_host_and_port_sealed_or_not() -> None:
    same = ["https://hooks.test/a", "https://HOOKS.test:443/b?c=d"]
    others = ["http://hooks.test/a", "https://hooks.test:8443/a", "https://other.test/a"]

    assert {kept(url, sealer).receiver for url in same for sealer in (SEALER, KEYLESS)} == {
        kept(same[0]).receiver
    }
    assert len({kept(url).receiver for url in (*others, same[0])}) == 4


def test_no_url_is_no_webhook_and_one_that_would_not_be_called_is_refused_without_it() -> None:
    assert webhook_to(None, SEALER, ()) is None
    with pytest.raises(BadRequest, match=r"^webhook must be a public address; this one is private$"):
        webhook_to(f"http://10.0.0.1/?token={TOKEN}", SEALER, ())
