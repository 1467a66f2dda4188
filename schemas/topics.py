"""The topic table: which topics there are and how they are kept."""

from typing import Literal

import msgspec

DAY_MS = 24 * 60 * 60 * 1000

TopicRole = Literal["ratings", "requests", "recommendations", "items", "models", "ratings.dlq", "requests.dlq"]


class TopicSpec(msgspec.Struct, frozen=True):
    """One row of the table.

    Attributes:
        role: the topic's name before prefix and settings.
        cleanup: Kafka's ``cleanup.policy``.
        retention_ms: Kafka's ``retention.ms``; -1 keeps for ever, None leaves it unset (compacted topics).
        key: what a record's key is.
        says: one sentence on its values.
    """

    role: TopicRole
    cleanup: Literal["delete", "compact"]
    retention_ms: int | None
    key: str
    says: str

    @property
    def config(self) -> dict[str, str]:
        """The topic's configuration, as an admin client sends it."""
        config: dict[str, str] = {"cleanup.policy": self.cleanup}
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        return config


TOPICS: dict[TopicRole, TopicSpec] = {
    spec.role: spec
    for spec in (
        TopicSpec("ratings", "delete", -1, "user_id", "rating events; the log that state can be rebuilt from"),
        TopicSpec("requests", "delete", DAY_MS, "user_id", "requests for recommendations"),
        TopicSpec("recommendations", "delete", DAY_MS, "user_id", "answers, at least one per request"),
        TopicSpec("items", "compact", None, "item_id", "the catalogue; a null value withdraws the item"),
        TopicSpec("models", "compact", None, "name", "the active release of each model"),
        TopicSpec("ratings.dlq", "compact", None, "topic id/partition/offset", "ratings that break the contract"),
        TopicSpec("requests.dlq", "compact", None, "topic id/partition/offset", "requests that cannot be answered"),
    )
}
