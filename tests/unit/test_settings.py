"""What an installation may not be started with, and who may use it."""

import json
from pathlib import Path

import pytest

from shared.api_keys import KeyRing, digest
from shared.errors import InvalidKey, Misconfigured
from shared.settings import Settings, is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.com"])
def test_the_demo_key_is_refused_outside_loopback(host: str) -> None:
    with pytest.raises(Misconfigured, match="only for loopback"):
        Settings(api_key="demo", host=host).require_serviceable()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_demo_key_serves_on_loopback(host: str) -> None:
    assert is_loopback(host)
    Settings(api_key="demo", host=host).require_serviceable()


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(Misconfigured, match="No API key"):
        Settings().require_serviceable()


def test_keys_in_a_file_are_found_by_their_digest(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps([{"tenant": "team-a", "sha256": digest("s3cret"), "weight": 2}]))
    ring = KeyRing.from_settings(Settings(api_keys_file=file, api_key="other"))

    assert ring.identify("s3cret").tenant == "team-a"
    assert ring.identify("other").tenant == "default"
    with pytest.raises(InvalidKey):
        ring.identify("guess")


@pytest.mark.parametrize("content", ["", "{}", '[{"tenant": "a b", "sha256": "0"}]'])
def test_a_keys_file_that_cant_be_used_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)

    with pytest.raises(Misconfigured, match="PRINTWORKS_API_KEYS_FILE can't be used"):
        KeyRing.from_settings(Settings(api_keys_file=file))


def test_a_key_in_the_wrong_place_is_not_repeated_in_the_refusal(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('[{"tenant": "a", "sha256": "my-plain-key"}]')

    with pytest.raises(Misconfigured) as caught:
        KeyRing.from_settings(Settings(api_keys_file=file))

    assert "my-plain-key" not in caught.value.detail


def test_a_setting_that_cant_be_read_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRINTWORKS_LEASE_S", "soon")

    with pytest.raises(Misconfigured, match="PRINTWORKS_LEASE_S: Input should be a valid number"):
        Settings.load()


def test_secrets_do_not_show_in_the_settings_own_text() -> None:
    settings = Settings(api_key="s3cret", webhook_secret="whsec_s3cret")

    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


def test_lists_and_numbers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRINTWORKS_ALLOW_PRIVATE_HOSTS", "127.0.0.1, 10.0.0.7")
    monkeypatch.setenv("PRINTWORKS_WEBHOOK_SCHEDULE_S", "0,0.5,2")

    settings = Settings()

    assert settings.allow_private_hosts == ("127.0.0.1", "10.0.0.7")
    assert settings.webhook_schedule_s == (0.0, 0.5, 2.0)
