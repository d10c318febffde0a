"""Settings from the environment: what is read, what is refused, and that secrets stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_engine.shell.settings import MASK, Settings, SettingsError, is_secret


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.bootstrap_servers is None
    assert settings.kafka == {}
    assert settings.partitions == 16
    assert settings.start == "latest"
    assert settings.app is None
    assert settings.state_dir == Path.home() / ".local/state/stream-engine"
    assert settings.cache_dir == Path.home() / ".cache/stream-engine"


def test_every_variable_is_read(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": "a:9092, b",
            "STREAM_ENGINE_STATE_DIR": str(tmp_path),
            "STREAM_ENGINE_PARTITIONS": "4",
            "STREAM_ENGINE_START": "earliest",
            "STREAM_ENGINE_APP": "shop",
            "STREAM_ENGINE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "UNRELATED": "x",
        }
    )
    assert settings == Settings(
        state_dir=tmp_path,
        bootstrap_servers="a:9092,b",
        kafka={"security.protocol": "SASL_SSL"},
        partitions=4,
        start="earliest",
        app="shop",
        cache_dir=tmp_path / "cache" / "stream-engine",
    )


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env({"STREAM_ENGINE_PARTITIONS": "", "STREAM_ENGINE_APP": " "}) == Settings.from_env({})


def test_the_state_folder_follows_xdg_unless_it_is_relative(tmp_path: Path) -> None:
    assert Settings.from_env({"XDG_STATE_HOME": str(tmp_path)}).state_dir == tmp_path / "stream-engine"
    assert Settings.from_env({"XDG_STATE_HOME": "state"}) == Settings.from_env({})


def test_a_relative_state_folder_is_made_absolute() -> None:
    assert Settings.from_env({"STREAM_ENGINE_STATE_DIR": "here"}).state_dir == Path.cwd() / "here"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("STREAM_ENGINE_PARTITIONS", "0", "1 to 1024"),
        ("STREAM_ENGINE_PARTITIONS", "1025", "1 to 1024"),
        ("STREAM_ENGINE_PARTITIONS", "many", "1 to 1024"),
        ("STREAM_ENGINE_PARTITIONS", "-1", "1 to 1024"),
        ("STREAM_ENGINE_START", "now", "latest or earliest"),
        ("STREAM_ENGINE_BOOTSTRAP_SERVERS", "host:port", "host:port[,host:port...]"),
        ("STREAM_ENGINE_BOOTSTRAP_SERVERS", "a:1,,b:2", "host:port[,host:port...]"),
        ("STREAM_ENGINE_BOOTSTRAP_SERVERS", "a:70000", "host:port[,host:port...]"),
        ("STREAM_ENGINE_KAFKA__SECURITY_PROTOCOL", "TLS", "librdkafka refuses it"),
        ("STREAM_ENGINE_KAFKA__LINGER_MS", "soon", "librdkafka refuses it"),
        ("STREAM_ENGINE_KAFKA__ACKS", "1", "the engine sets acks itself"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_value(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    assert caught.value.variable == variable
    assert variable in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_a_file_is_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="this is a file"):
        Settings.from_env({"STREAM_ENGINE_STATE_DIR": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("STREAM_ENGINE_PARTITION", "STREAM_ENGINE_PARTITIONS"),
        ("STREAM_ENGINE_BOOTSTRAP_SERVER", "STREAM_ENGINE_BOOTSTRAP_SERVERS"),
        ("STREAM_ENGINE_KAFKA_SASL_USERNAME", "STREAM_ENGINE_KAFKA__SASL_USERNAME"),
    ],
)
def test_an_unknown_variable_is_refused_with_what_was_meant(misspelt: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"{misspelt}=.* did you mean {meant}\?") as caught:
        Settings.from_env({misspelt: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_an_unknown_variable_like_no_other_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="known are STREAM_ENGINE_BOOTSTRAP_SERVERS, "):
        Settings.from_env({"STREAM_ENGINE_" + "Q" * 30: "1"})


def test_the_test_suites_own_variables_are_nobodys_misspelling() -> None:
    assert Settings.from_env({"STREAM_ENGINE_TEST_ANYTHING": "1"}) == Settings.from_env({})


def test_an_unknown_librdkafka_property_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"librdkafka has no property securty\.protocol"):
        Settings.from_env({"STREAM_ENGINE_KAFKA__SECURTY_PROTOCOL": "SSL"})


def test_librdkafkas_own_name_for_the_servers_works_too() -> None:
    settings = Settings.from_env({"STREAM_ENGINE_KAFKA__BOOTSTRAP_SERVERS": "a:1"})
    assert (settings.bootstrap_servers, settings.kafka) == ("a:1", {})


def test_two_different_names_for_the_servers_are_refused() -> None:
    both = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": "a:1", "STREAM_ENGINE_KAFKA__BOOTSTRAP_SERVERS": "b:1"}
    with pytest.raises(SettingsError, match="says otherwise"):
        Settings.from_env(both)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "sasl.username",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.certificate.pem",
        "ssl.keystore.password",
        "ssl.key.location",
    ],
)
def test_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["security.protocol", "ssl.ca.location", "linger.ms", "client.id"])
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert not is_secret(name)


def test_secrets_never_show() -> None:
    settings = Settings.from_env(
        {
            "STREAM_ENGINE_KAFKA__SASL_PASSWORD": "hunter2",
            "STREAM_ENGINE_KAFKA__SSL_KEY_PEM": "hunter2",
            "STREAM_ENGINE_KAFKA__LINGER_MS": "7",
        }
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{settings}"
    described = settings.describe()
    assert described["STREAM_ENGINE_KAFKA__SASL_PASSWORD"] == MASK
    assert described["STREAM_ENGINE_KAFKA__LINGER_MS"] == "7"
    assert described["STREAM_ENGINE_PARTITIONS"] == "16"


def test_schemas_are_in_a_folder_or_a_registry_whose_password_never_shows(tmp_path: Path) -> None:
    assert Settings.from_env({"STREAM_ENGINE_SCHEMAS": str(tmp_path)}).schemas == str(tmp_path)
    address = "https://me:hunter2@registry:8081/base"
    settings = Settings.from_env({"STREAM_ENGINE_SCHEMAS": address})
    assert settings.schemas == address
    assert settings.describe()["STREAM_ENGINE_SCHEMAS"] == f"https://{MASK}@registry:8081/base"
    with pytest.raises(SettingsError, match="give a folder"):
        Settings.from_env({"STREAM_ENGINE_SCHEMAS": str(tmp_path / "missing")})


def test_a_refused_secret_does_not_show_either() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"STREAM_ENGINE_KAFKA__SASL_OAUTHBEARER_METHOD": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_clients_own_configuration_stands_over_the_users_and_that_over_what_is_only_tuned(tmp_path: Path) -> None:
    settings = Settings(tmp_path, bootstrap_servers="a:1", kafka={"linger.ms": "7", "client.id": "x"})
    config = settings.client_config({"linger.ms": 0, "session.timeout.ms": 9}, **{"client.id": "own"})
    assert config == {"bootstrap.servers": "a:1", "linger.ms": "7", "session.timeout.ms": 9, "client.id": "own"}


def test_without_a_broker_there_is_no_client_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="stream-engine broker start"):
        Settings(tmp_path).client_config()
