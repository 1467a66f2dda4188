"""Settings: where they come from, which are refused, and what is never shown."""

import logging

import pytest
from pydantic_settings import BaseSettings

from schemas.errors import ConfigurationError
from schemas.topics import TOPICS
from streams.bus.security import make_ssl_context, security_arguments
from streams.logs import configure_logs
from streams.settings import Settings, load_settings

SASL = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "streamrec",
    "kafka_sasl_password": "hush-kafka",
}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write_file


def test_defaults_are_those_of_one_machine():
    settings = load_settings()
    assert settings.bootstrap_servers == "localhost:9092"
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.namespace, settings.topic_prefix, settings.shards, settings.partitions) == ("streamrec", "", 1, 4)
    assert (settings.rating_min, settings.rating_max) == (0.5, 5.0)
    assert settings.kafka_security_protocol == "PLAINTEXT"


def test_flag_beats_environment_beats_file_beats_what_up_wrote(write, monkeypatch):
    write(".streamrec/up.toml", 'namespace = "up"\nredis_url = "redis://up:1/0"\nseed = 1\npartitions = 11\n')
    write("streamrec.toml", 'namespace = "file"\nseed = 2\npartitions = 12\n')
    monkeypatch.setenv("STREAMREC_NAMESPACE", "environment")
    monkeypatch.setenv("STREAMREC_SEED", "3")
    settings = load_settings(namespace="flag", seed=None)
    assert settings.namespace == "flag"
    assert settings.seed == 3
    assert settings.partitions == 12
    assert settings.redis_url == "redis://up:1/0"


def test_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("STREAMREC_REDIS_URL", "")
    assert load_settings().redis_url == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"partitions": 0}, "partitions"),
        ({"shards": 0}, "shards"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"epsilon_decay": "linear"}, "epsilon_decay"),
        ({"namespace": "a b"}, "namespace"),
        ({"namespace": "a*"}, "namespace"),
        ({"namespace": "{a}"}, "namespace"),
        ({"seed": -1}, "seed"),
        ({"bootstrap_servers": "a:1,,b:2"}, "bootstrap_servers must be host:port"),
        ({"bootstrap_servers": ""}, "bootstrap_servers"),
        ({"rating_min": 5}, "rating_min must be below rating_max, got 5.0 and 5.0"),
        ({"rating_max": float("nan")}, "rating_min must be below rating_max"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_value_out_of_range_is_refused_by_name(values, word):
    with pytest.raises(ConfigurationError, match=word.replace("*", r"\*")):
        load_settings(**values)


def test_misspelt_name_in_a_file_is_refused(write):
    write("streamrec.toml", 'namespce = "a"\n')
    with pytest.raises(ConfigurationError, match="namespce"):
        load_settings()


def test_file_that_is_no_toml_is_a_configuration_error(write):
    write("streamrec.toml", "namespace = \n")
    with pytest.raises(ConfigurationError, match=r"streamrec\.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kafka_security_protocol": "PLAINTEXT"}, "is PLAINTEXT: set SASL_SSL"),
        ({"kafka_security_protocol": "SSL"}, "is SSL: set SASL_SSL"),
        ({"kafka_sasl_password": None}, "needs kafka_sasl_password"),
        ({"kafka_sasl_username": None}, "needs kafka_sasl_username"),
        ({"kafka_sasl_mechanism": None}, "needs kafka_sasl_mechanism"),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "kafka_sasl_mechanism"),
    ],
)
def test_sasl_that_would_not_protect_is_refused(changes, word):
    with pytest.raises(ConfigurationError, match=word):
        load_settings(**SASL | changes)


@pytest.mark.parametrize("name", ["kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password"])
def test_any_part_of_sasl_alone_would_run_in_plaintext_and_is_refused(name):
    with pytest.raises(ConfigurationError, match="kafka_security_protocol is PLAINTEXT"):
        load_settings(**{name: SASL[name]})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_tls_file_without_tls_is_refused(protocol):
    sasl = SASL if protocol.startswith("SASL") else {}
    with pytest.raises(ConfigurationError, match="the connection would be in plaintext"):
        load_settings(**sasl | {"kafka_security_protocol": protocol, "kafka_ssl_cafile": "ca.pem"})


def test_topic_names_are_prefixed_unless_set():
    settings = load_settings(topic_prefix="shop.", topic_ratings="stars", topic_requests_dlq="bad")
    assert {role: settings.topic(role) for role in TOPICS} == {
        "ratings": "stars",
        "requests": "shop.requests",
        "recommendations": "shop.recommendations",
        "items": "shop.items",
        "models": "shop.models",
        "ratings.dlq": "shop.ratings.dlq",
        "requests.dlq": "bad",
    }


def test_groups_are_named_after_the_namespace():
    settings = load_settings(namespace="shop")
    assert (settings.group_worker, settings.group_scorer) == ("shop.worker", "shop.scorer")


def test_settings_do_not_change():
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 5


def test_every_setting_says_what_it_is():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    assert issubclass(Settings, BaseSettings)


class TestPasswords:
    def shown(self, settings):
        return f"{settings!r} {settings} {[settings]}"

    def test_password_of_kafka_is_not_shown(self):
        assert "hush" not in self.shown(load_settings(**SASL))

    def test_password_of_redis_is_not_shown(self):
        assert "hush" not in self.shown(load_settings(redis_url="redis://user:hush-redis@host:6379/0"))

    @pytest.mark.parametrize(
        "values",
        [
            {"kafka_sasl_password": "hush"},
            SASL | {"kafka_sasl_username": None},
            {"redis_url": "redis://:hush@host/0", "shards": 0},
            SASL | {"shards": 0},
            SASL | {"kafka_sasl_password": ["hush"]},
        ],
    )
    def test_refusal_does_not_show_passwords(self, values):
        with pytest.raises(ConfigurationError) as refused:
            load_settings(**values)
        assert "hush" not in str(refused.value)

    def test_logged_settings_do_not_show_passwords(self, capsys):
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            configure_logs()
            settings = load_settings(**SASL, redis_url="redis://:hush-redis@host/0")
            logging.getLogger("streams.test").warning("settings %s %r", settings, settings)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        logged = capsys.readouterr().err
        assert "streamrec" in logged
        assert "hush" not in logged


class TestSecurity:
    def test_plaintext_has_no_context(self):
        assert make_ssl_context(load_settings()) is None
        assert security_arguments(load_settings()) == {"security_protocol": "PLAINTEXT"}

    def test_sasl_over_tls_carries_both(self):
        arguments = security_arguments(load_settings(**SASL))
        context = arguments.pop("ssl_context")
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"
        assert arguments == {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "streamrec",
            "sasl_plain_password": "hush-kafka",
        }

    def test_sasl_in_plaintext_is_possible_where_it_is_said(self):
        settings = load_settings(**SASL | {"kafka_security_protocol": "SASL_PLAINTEXT"})
        assert "ssl_context" not in security_arguments(settings)

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_certificate_that_cannot_be_read_is_named(self, write, content):
        if content is not None:
            write("ca.pem", content)
        settings = load_settings(kafka_security_protocol="SSL", kafka_ssl_cafile="ca.pem")
        with pytest.raises(ConfigurationError, match=r"TLS files \(ca\.pem"):
            make_ssl_context(settings)

    def test_key_without_its_certificate_is_refused(self, write):
        write("key.pem", "key")
        with pytest.raises(ConfigurationError):
            make_ssl_context(load_settings(kafka_security_protocol="SSL", kafka_ssl_keyfile="key.pem"))


def test_fields_of_ratings_come_from_a_table_of_the_file(write):
    write("streamrec.toml", 'seed = 1\n[ratings.fields]\nuser_id = "payload.user.id"\nrating = "stars"\n')
    assert load_settings().rating_fields == "user_id=payload.user.id,rating=stars"
    assert load_settings(rating_fields="rating=score").rating_fields == "rating=score"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[ratings.fields]\nuser = "x"\n', "NAME=PATH"),
        ("[ratings.fields]\nuser_id = 1\n", r"\[ratings.fields\] must have lines"),
        ('[ratings]\nfield = "x"\n', r"\[ratings.fields\] must have lines"),
        ('ratings = "x"\n', r"\[ratings.fields\] must have lines"),
        ('rating_fields = "rating=a"\n[ratings.fields]\nuser_id = "x"\n', "keep one"),
    ],
)
def test_table_of_fields_that_cannot_be_is_refused(write, text, word):
    write("streamrec.toml", text)
    with pytest.raises(ConfigurationError, match=word):
        load_settings()


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ('policy = "ucb"\n', {"ucb": 1.0}),
        ('policy = "epsilon_greedy=9,ucb=1"\n', {"epsilon_greedy": 0.9, "ucb": 0.1}),
        ("policy = {epsilon_greedy = 0.9, ucb = 0.1}\n", {"epsilon_greedy": 0.9, "ucb": 0.1}),
        ("[policy]\nepsilon_greedy = 3\nucb = 1\n", {"epsilon_greedy": 0.75, "ucb": 0.25}),
    ],
)
def test_policy_is_a_name_or_weights_as_text_or_table(write, text, weights):
    write("streamrec.toml", text)
    assert load_settings().policy_weights == weights


def test_policy_weights_in_the_environment_may_be_json(monkeypatch):
    monkeypatch.setenv("STREAMREC_POLICY", '{"epsilon_greedy": 0.9, "ucb": 0.1}')
    assert load_settings().policy_weights == {"epsilon_greedy": 0.9, "ucb": 0.1}


@pytest.mark.parametrize(
    "policy", ["greedy=0", "greedy=-1,ucb=2", "greedy=x", "greedy=inf", "greedy=1,greedy=1", "a,b", "{"]
)
def test_policy_weights_that_cannot_be_are_refused(policy):
    with pytest.raises(ConfigurationError, match="policy must be a name"):
        load_settings(policy=policy)
