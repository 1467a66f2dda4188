"""Settings: by flag, by environment, by ``streamrec.toml``, then by what ``streamrec up`` wrote."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.errors import ConfigurationError
from schemas.mapping import parse_fields
from schemas.topics import TopicRole

CONFIG_FILE = Path("streamrec.toml")
UP_FILE = Path(".streamrec/up.toml")
NAMESPACE_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
ActorDistance = Literal[
    "model",
    "euclidean",
    "cosine",
    "correlation",
    "canberra",
    "minkowski",
    "chebyshev",
    "braycurtis",
    "cityblock",
    "inner",
]
ActorFallback = Literal[
    "epsilon_greedy",
    "greedy",
    "random",
    "ucb",
    "epsilon_greedy_compat",
    "greedy_compat",
    "random_compat",
    "ucb_compat",
]
LEAST_RERANKED = 50


class _TomlSource(TomlConfigSettingsSource):
    """A file of settings whose table ``[ratings.fields]`` says what the setting ``rating_fields`` does."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        found = super()._read_file(file_path)
        table = found.pop("ratings", None)
        if table is None:
            return found
        fields = table.get("fields") if isinstance(table, dict) and len(table) == 1 else None
        if not isinstance(fields, dict) or not all(isinstance(path, str) for path in fields.values()):
            raise ConfigurationError(f'{file_path}: [ratings.fields] must have lines as user_id = "payload.user.id"')
        if "rating_fields" in found:
            raise ConfigurationError(f"{file_path} has both rating_fields and [ratings.fields]: keep one")
        return {**found, "rating_fields": ",".join(f"{name}={path}" for name, path in fields.items())}


class Settings(BaseSettings):
    """Everything a process is told from outside; each name is ``STREAMREC_<NAME>`` in the environment.

    Precedence: arguments (flags), environment, ``streamrec.toml``, ``.streamrec/up.toml``, defaults.
    """

    model_config = SettingsConfigDict(
        env_prefix="STREAMREC_", extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    bootstrap_servers: str = Field("localhost:9092", description="Kafka's bootstrap servers, comma-separated")
    redis_url: str = Field("redis://localhost:6379/0", description="URL of Redis, Valkey or a cluster", repr=False)
    namespace: str = Field("streamrec", pattern=NAMESPACE_PATTERN, description="prefix of keys and groups")
    topic_prefix: str = Field("", description="prefix of every topic's default name")
    topic_ratings: str = Field("", description="name of an existing topic for ratings")
    topic_requests: str = Field("", description="name of an existing topic for requests")
    topic_recommendations: str = Field("", description="name of an existing topic for answers")
    topic_items: str = Field("", description="name of an existing topic for items")
    topic_models: str = Field("", description="name of an existing topic for releases")
    topic_ratings_dlq: str = Field("", description="name of an existing topic for bad ratings")
    topic_requests_dlq: str = Field("", description="name of an existing topic for bad requests")
    partitions: int = Field(4, ge=1, le=10_000, description="partitions of each topic that streamrec creates")
    replication: int = Field(1, ge=1, le=10, description="replicas of each topic that streamrec creates")
    model_dir: str = Field(".streamrec/models", description="where releases are kept, any fsspec URL")
    rating_min: float = Field(0.5, description="lowest rating allowed; fixed when the state is first made")
    rating_max: float = Field(5.0, description="highest rating allowed; fixed when the state is first made")
    rating_fields: str = Field(
        "", description="where your own events have the fields of ratings, as user_id=payload.user.id,rating=stars"
    )
    shards: int = Field(1, ge=1, le=4096, description="shards a state is made with; `state rebuild` changes them")
    rebuild_on_empty: bool = Field(
        False, description="rebuild from the log's start when the store was emptied, instead of halting"
    )
    embedding: str = Field("items", description="name on the models topic whose release gives item vectors")
    policy: str = Field(
        "greedy", description="policy of requests that name none; or weights of several, as epsilon_greedy=0.9,ucb=0.1"
    )
    seed: int = Field(7, ge=0, lt=2**63, description="seed of every draw the scorer makes")
    epsilon: float = Field(0.1, ge=0, le=1, description="epsilon of epsilon_greedy where a request gives none")
    epsilon_decay: Literal["fixed", "sqrt"] = Field("fixed", description="sqrt: epsilon/sqrt(e + 1)")
    novelty_s: float = Field(200.0, gt=0, description="the s of novelty, in the user's own ratings")
    ucb_c: float = Field(1.0, ge=0, description="the c of ucb")
    sequence_epsilon: float = Field(0.0, ge=0, le=1, description="epsilon of sequence where a request gives none")
    actor_distance: ActorDistance = Field("model", description="what actors' nearest items are by; model: as released")
    actor_rerank: int | None = Field(
        None,
        ge=0,
        le=500,
        description="nearest items that critics rank again, 50 or more, 0 for none; else as released",
    )
    actor_epsilon: float = Field(0.0, ge=0, le=1, description="epsilon of the actors where a request has none")
    actor_fallback: ActorFallback = Field(
        "epsilon_greedy", description="policy of users with too few ratings for an actor"
    )
    linear_choice: Literal["greedy", "linucb", "thompson"] = Field("greedy", description="how linear chooses")
    linear_alpha: float = Field(1.0, ge=0, description="weight of linucb's bonus, in standard deviations")
    linear_epsilon: float = Field(0.0, ge=0, le=1, description="epsilon of linear where a request gives none")
    least_coverage: float = Field(
        0.02, ge=0, le=1, description="share of the catalogue in the lists of a policy, below which it has collapsed"
    )
    least_entropy: float = Field(
        4.0, ge=0, description="entropy in bits of the items a policy shows, below which it has collapsed"
    )
    least_distance: float = Field(
        0.0, ge=0, le=2, description="mean 1 - cos of the items in a list of a policy, below which it has collapsed"
    )
    session_timeout_s: float = Field(10.0, ge=1, description="group session timeout; stock brokers want 6 or more")
    rebalance_timeout_s: float = Field(5.0, ge=0.5, description="how long members have to rejoin a group")
    topic_check_s: float = Field(
        10.0, ge=0, le=60, description="how old the worker's knowledge of the ratings topic's id may be; 0: every batch"
    )
    fold_idle_s: int = Field(
        300, ge=0, le=10_000_000, description="how long nobody touched a ledger before the worker makes it smaller"
    )
    scorer_client: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="the scorer's Kafka client; confluent is faster and needs streamrec[confluent]"
    )
    fetch_wait_ms: int = Field(20, ge=1, le=10_000, description="how long a broker may hold a fetch without records")
    ledger_cache_mb: int = Field(
        64, ge=0, le=65_536, description="memory in which a worker keeps ledgers it read or wrote last; 0: none"
    )
    store_timeout_s: float = Field(5.0, gt=0, description="how long one call to the store may take")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="port of /metrics, /livez and /readyz of worker and scorer; 0: any free one; none: not served",
    )
    metrics_host: str = Field("127.0.0.1", description="address that metrics_port is bound to")
    stalled_after_s: float = Field(
        10.0, ge=1, le=3600, description="how long no progress is made before a process says that it is not ready"
    )
    log_level: Literal["INFO", "DEBUG", "WARNING"] = Field(
        "INFO", description="of worker and scorer; the scorer's line a micro-batch is DEBUG"
    )
    otlp_endpoint: str = Field(
        "", description="URL of an OTLP/HTTP collector for traces, as http://localhost:4318; none if empty"
    )
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", description="how every Kafka client connects")
    kafka_sasl_mechanism: SaslMechanism | None = Field(None, description="with SASL_SSL or SASL_PLAINTEXT")
    kafka_sasl_username: str | None = Field(None, description="with SASL_SSL or SASL_PLAINTEXT")
    kafka_sasl_password: str | None = Field(None, repr=False, description="better by environment than by flag")
    kafka_ssl_cafile: str | None = Field(None, description="PEM file of the authorities to trust; the system's if none")
    kafka_ssl_certfile: str | None = Field(None, description="PEM file of the client's certificate")
    kafka_ssl_keyfile: str | None = Field(None, description="PEM file of the certificate's key, if it is not in there")

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, servers: str) -> str:
        if not all(part.strip() for part in servers.split(",")):
            raise ValueError(f"bootstrap_servers must be host:port, comma-separated, got {servers!r}")
        return servers

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_collector(cls, endpoint: str) -> str:
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"otlp_endpoint must begin with http:// or https://, got {endpoint!r}")
        return endpoint

    @field_validator("policy", mode="before")
    @classmethod
    def _write_weights(cls, policy: Any) -> Any:
        """Take a table of weights, as a file has it, or JSON, as well as text."""
        if isinstance(policy, str) and policy.lstrip().startswith("{"):
            try:
                policy = json.loads(policy)
            except json.JSONDecodeError as error:
                raise ValueError(f"policy must be a name, NAME=WEIGHT,... or JSON, got {policy!r}: {error}") from None
        return ",".join(f"{name}={weight}" for name, weight in policy.items()) if isinstance(policy, dict) else policy

    @field_validator("policy")
    @classmethod
    def _check_policy(cls, policy: str) -> str:
        parse_weights(policy)
        return policy

    @field_validator("actor_rerank")
    @classmethod
    def _check_rerank(cls, rerank: int | None) -> int | None:
        if rerank and rerank < LEAST_RERANKED:
            raise ValueError(f"actor_rerank must be 0 or in {LEAST_RERANKED}..500, got {rerank}")
        return rerank

    @field_validator("rating_fields")
    @classmethod
    def _check_fields(cls, fields: str) -> str:
        parse_fields(fields)
        return fields

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        if not self.rating_min < self.rating_max:
            raise ValueError(f"rating_min must be below rating_max, got {self.rating_min} and {self.rating_max}")
        asks_for_sasl = self.kafka_sasl_mechanism or self.kafka_sasl_username or self.kafka_sasl_password
        if asks_for_sasl and not self.kafka_security_protocol.startswith("SASL_"):
            raise ValueError(
                "a SASL mechanism, user or password is set, but kafka_security_protocol is "
                f"{self.kafka_security_protocol}: set SASL_SSL (or SASL_PLAINTEXT), or the password would not be used"
            )
        if self.kafka_security_protocol.startswith("SASL_"):
            missing = [
                name
                for name in ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
                if not getattr(self, name)
            ]
            if missing:
                raise ValueError(f"{self.kafka_security_protocol} needs {', '.join(missing)}")
        if self.kafka_ssl_keyfile and not self.kafka_ssl_certfile:
            raise ValueError("kafka_ssl_keyfile is set without kafka_ssl_certfile: the key would not be used")
        asks_for_tls = self.kafka_ssl_cafile or self.kafka_ssl_certfile or self.kafka_ssl_keyfile
        if asks_for_tls and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError(
                "a TLS file is set, but kafka_security_protocol is "
                f"{self.kafka_security_protocol}: set SSL or SASL_SSL, or the connection would be in plaintext"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Name the sources, highest precedence first."""
        return (
            init_settings,
            env_settings,
            _TomlSource(settings_cls, CONFIG_FILE),
            _TomlSource(settings_cls, UP_FILE),
        )

    def topic(self, role: TopicRole) -> str:
        """Return the name of a topic: as set, else the prefix and its default name."""
        name: str = getattr(self, f"topic_{role.replace('.', '_')}")
        return name or f"{self.topic_prefix}{role}"

    @property
    def policy_weights(self) -> dict[str, float]:
        """The policies of requests that name none, and their shares of the users, which sum to 1."""
        return parse_weights(self.policy)

    @property
    def rating_scale(self) -> str:
        """The scale that is fixed when the state is made, as the store keeps it."""
        return f"ratings {self.rating_min:g} to {self.rating_max:g}"

    @property
    def ledger_cache_bytes(self) -> int:
        """``ledger_cache_mb`` in bytes."""
        return self.ledger_cache_mb * 1024 * 1024

    @property
    def group_worker(self) -> str:
        """The workers' consumer group."""
        return f"{self.namespace}.worker"

    @property
    def group_scorer(self) -> str:
        """The scorers' consumer group."""
        return f"{self.namespace}.scorer"


def parse_weights(text: str) -> dict[str, float]:
    """Return the shares that ``NAME`` or ``NAME=WEIGHT,NAME=WEIGHT`` says, in that order; they sum to 1.

    Raises:
        ValueError: a part is not NAME=WEIGHT, a name comes twice, or a weight is not above 0 and finite.

    >>> parse_weights("greedy"), parse_weights("epsilon_greedy=9, ucb=1")
    ({'greedy': 1.0}, {'epsilon_greedy': 0.9, 'ucb': 0.1})
    """
    if "=" not in text and "," not in text:
        return {text.strip(): 1.0}
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (side.strip() for side in part.partition("="))
        try:
            value = float(weight)
        except ValueError:
            value = math.nan
        if not name or name in weights or not 0 < value < math.inf:
            raise ValueError(
                "policy must be a name, or NAME=WEIGHT,NAME=WEIGHT with each NAME once and WEIGHT above 0, "
                f"got {text!r}"
            )
        weights[name] = value
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def load_settings(**flags: Any) -> Settings:
    """Return the settings; flags that are None count as not given.

    Raises:
        ConfigurationError: a value is out of range, a name is unknown, or two contradict one another.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigurationError(faults) from error
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise ConfigurationError(f"{CONFIG_FILE} or {UP_FILE} cannot be read: {error}") from error
