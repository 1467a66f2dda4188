"""Write the contract for other languages: a JSON Schema for every event and an AsyncAPI document."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.asyncapi import asyncapi_document
from schemas.shapes import (
    dead_letter_headers_schema,
    item_schema,
    model_schema,
    rating_schema,
    recommendation_schema,
    request_schema,
)
from schemas.topics import TOPICS, TopicRole

DEFAULT_RATING_MIN = 0.5
DEFAULT_RATING_MAX = 5.0
DEFAULT_PARTITIONS = 4


def make_documents(
    rating_min: float = DEFAULT_RATING_MIN,
    rating_max: float = DEFAULT_RATING_MAX,
    *,
    topic_names: Mapping[TopicRole, str] | None = None,
    partitions: int = DEFAULT_PARTITIONS,
) -> dict[str, Any]:
    """Return every document by the name of its file."""
    names = {role: role for role in TOPICS} if topic_names is None else topic_names
    return {
        "rating.schema.json": rating_schema(rating_min, rating_max),
        "request.schema.json": request_schema(),
        "recommendation.schema.json": recommendation_schema(),
        "item.schema.json": item_schema(),
        "model.schema.json": model_schema(),
        "dead-letter-headers.schema.json": dead_letter_headers_schema(),
        "asyncapi.json": asyncapi_document(names, partitions),
    }


def export_schemas(
    directory: Path,
    rating_min: float = DEFAULT_RATING_MIN,
    rating_max: float = DEFAULT_RATING_MAX,
    *,
    topic_names: Mapping[TopicRole, str] | None = None,
    partitions: int = DEFAULT_PARTITIONS,
) -> list[Path]:
    """Write every document into a directory and return the files; the same arguments give the same bytes.

    Args:
        directory: where to; it is made when missing.
        rating_min: the lowest rating of the deployment.
        rating_max: the highest.
        topic_names: the deployment's names of topics; those of the contract when None.
        partitions: how many each topic is made with.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    documents = make_documents(rating_min, rating_max, topic_names=topic_names, partitions=partitions)
    for name, document in documents.items():
        path = directory / name
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written
