"""The AsyncAPI 3 document: topics as channels, and what the worker and the scorer do on them."""

from collections.abc import Mapping
from typing import Any

from schemas.events import VERSION
from schemas.topics import TOPICS, TopicRole, TopicSpec

Document = dict[str, Any]

ASYNCAPI_VERSION = "3.0.0"
BINDING_VERSION = "0.5.0"
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"

MESSAGES: dict[TopicRole, str] = {
    "ratings": "rating",
    "requests": "request",
    "recommendations": "recommendation",
    "items": "item",
    "models": "model",
    "ratings.dlq": "deadRating",
    "requests.dlq": "deadRequest",
}
"""The one message of each channel."""

_OPERATIONS: tuple[tuple[str, str, TopicRole, str], ...] = (
    ("workerReceivesRatings", "receive", "ratings", "The worker folds ratings into the state."),
    ("workerReceivesItems", "receive", "items", "The worker keeps the catalogue in memory."),
    ("workerReceivesModels", "receive", "models", "The worker folds with the active embeddings."),
    ("workerSendsDeadRatings", "send", "ratings.dlq", "The worker puts aside what breaks the contract."),
    ("scorerReceivesRequests", "receive", "requests", "The scorer answers each request at least once."),
    ("scorerReceivesItems", "receive", "items", "The scorer keeps the catalogue in memory."),
    ("scorerReceivesModels", "receive", "models", "The scorer loads the active release when it changes."),
    ("scorerSendsRecommendations", "send", "recommendations", "The scorer answers with the request's key."),
    ("scorerSendsDeadRequests", "send", "requests.dlq", "The scorer puts aside what cannot be answered."),
)


def asyncapi_document(topic_names: Mapping[TopicRole, str], partitions: int) -> Document:
    """Return the document.

    Args:
        topic_names: the address of each channel.
        partitions: how many each topic is made with.
    """
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "streamrec",
            "version": f"{VERSION}.0.0",
            "description": "An online streaming recommender: ratings in on Kafka, recommendations out on a topic.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            _channel_name(role): _channel(spec, topic_names[role], partitions) for role, spec in TOPICS.items()
        },
        "operations": {name: _operation(*rest) for name, *rest in _OPERATIONS},  # type: ignore[arg-type]
        "components": {"messages": {MESSAGES[role]: _message(spec) for role, spec in TOPICS.items()}},
    }


def _channel_name(role: TopicRole) -> str:
    return role.replace(".", "-")


def _channel(spec: TopicSpec, address: str, partitions: int) -> Document:
    configuration: Document = {"cleanup.policy": [spec.cleanup]}
    if spec.retention_ms is not None:
        configuration["retention.ms"] = spec.retention_ms
    return {
        "address": address,
        "description": spec.says,
        "messages": {MESSAGES[spec.role]: {"$ref": f"#/components/messages/{MESSAGES[spec.role]}"}},
        "bindings": {
            "kafka": {
                "topic": address,
                "partitions": partitions,
                "topicConfiguration": configuration,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _message(spec: TopicSpec) -> Document:
    name = MESSAGES[spec.role]
    key = {"type": "string", "description": spec.key}
    message: Document = {
        "name": name,
        "summary": spec.says,
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING_VERSION}},
    }
    if spec.role.endswith(".dlq"):
        headers = _external("dead-letter-headers")
        return message | {"contentType": "application/octet-stream", "headers": headers, "payload": True}
    return message | {"contentType": "application/json", "payload": _external(name)}


def _external(name: str) -> Document:
    return {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./{name}.schema.json"}}


def _operation(action: str, role: TopicRole, summary: str) -> Document:
    operation: Document = {
        "action": action,
        "channel": {"$ref": f"#/channels/{_channel_name(role)}"},
        "summary": summary,
        "messages": [_message_of(role)],
    }
    if role == "requests":
        operation["reply"] = {
            "channel": {"$ref": f"#/channels/{_channel_name('recommendations')}"},
            "messages": [_message_of("recommendations")],
        }
    return operation


def _message_of(role: TopicRole) -> Document:
    return {"$ref": f"#/channels/{_channel_name(role)}/messages/{MESSAGES[role]}"}
