"""Releases of models, embeddings and policies: a safetensors file and a manifest, under any fsspec URL.

    <directory>/<name>/<version>/model.safetensors      the bytes that a release's sha256 is of
    <directory>/<name>/<version>/manifest.json          what people and tools may want to know of it

Only safetensors is read: numbers and names, nothing that could run.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Any, Literal, Protocol, TypeVar

import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from recommender.embeddings.model import EmbeddingModel
from schemas.errors import ModelError
from schemas.events import ModelRelease
from streams.models.files import read_file, resolve, write_file

MODEL_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
MAX_RELEASE_BYTES = 1 << 30
"""The largest file a release may have; a larger one is refused before it fills the memory."""

Tensors = Mapping[str, NDArray[Any]]
ReleaseKind = Literal["embedding", "policy"]

_Model = TypeVar("_Model")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER_LENGTH_BYTES = 8


class Releasable(Protocol):
    """A model that a release can keep."""

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays and metadata; the same model gives the same ones."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the manifest says of the model."""
        ...


def save_release(
    model: Releasable,
    directory_url: str,
    name: str,
    version: str | None = None,
    metrics: Mapping[str, float] | None = None,
    *,
    kind: ReleaseKind = "embedding",
    created_ms: int | None = None,
) -> ModelRelease:
    """Write a release, its manifest last, and return what to publish on ``models``.

    The same model gives the same bytes. A release is never changed: writing the same bytes again under its version is
    harmless, others are refused.

    Args:
        model: what to keep.
        directory_url: where releases are kept, a path or any fsspec URL.
        name: letters, digits, ``.``, ``_`` and ``-``, at most 64; of a policy's model the policy's name.
        version: as ``name``; by default the time in UTC and the first eight digits of the sum.
        metrics: finite numbers.
        kind: what the model is of.
        created_ms: now, unless given.

    Raises:
        ValueError: a name, version or metric is not allowed.
        ModelError: the version holds another model, or the place cannot be written.
    """
    _check_name(name, "name")
    kept = {key: float(value) for key, value in (metrics or {}).items()}
    for key, value in kept.items():
        if not math.isfinite(value):
            raise ValueError(f"metric {key} must be finite, got {value}")
    created_ms = time.time_ns() // 1_000_000 if created_ms is None else created_ms
    data = safetensors.numpy.save(*model.to_tensors())
    digest = sha256(data).hexdigest()
    version = version or f"{datetime.fromtimestamp(created_ms / 1000, UTC):%Y%m%dT%H%M%SZ}-{digest[:8]}"
    _check_name(version, "version")
    directory = f"{resolve(directory_url)}/{name}/{version}"
    release = ModelRelease(
        name=name,
        version=version,
        kind=kind,
        uri=f"{directory}/{MODEL_FILE}",
        sha256=digest,
        metrics=kept,
        ts_ms=created_ms,
    )
    _write_once(release, data)
    manifest = _describe(release, model, len(data))
    write_file(manifest_uri(release), (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())
    return release


def load_release(release: ModelRelease, *, max_bytes: int = MAX_RELEASE_BYTES) -> EmbeddingModel:
    """Fetch, check and return the item vectors of a release.

    Raises:
        ModelError: the file cannot be fetched, is too large, is not the one released, or holds no such model.
    """
    if release.kind != "embedding":
        raise ModelError(f"{release.label} must be of kind 'embedding' to give item vectors, got {release.kind!r}")
    return _load(release, EmbeddingModel.from_tensors, max_bytes)


def load_policy_release(
    release: ModelRelease,
    read: Callable[[str, Tensors, Mapping[str, str]], _Model],
    *,
    max_bytes: int = MAX_RELEASE_BYTES,
) -> _Model:
    """Fetch, check and return the model of a policy's release.

    Args:
        release: of kind ``policy``; its name is the policy's.
        read: makes the model of a policy's name, arrays and metadata, and raises ModelError where they are none.
        max_bytes: the largest file that is read.

    Raises:
        ModelError: the file cannot be fetched, is too large, is not the one released, or holds no such model.
    """
    if release.kind != "policy":
        raise ModelError(f"{release.label} must be of kind 'policy' to serve a policy, got {release.kind!r}")
    return _load(release, lambda tensors, metadata: read(release.name, tensors, metadata), max_bytes)


def _load(release: ModelRelease, make: Callable[[Tensors, Mapping[str, str]], _Model], max_bytes: int) -> _Model:
    expected = _checked_sha256(release)
    data = read_file(release.uri, max_bytes)
    if data is None:
        raise ModelError(f"{release.label} is not where it was released: there is no file {release.uri}")
    actual = sha256(data).hexdigest()
    if actual != expected:
        raise ModelError(
            f"{release.label} is not the file that was released: {release.uri} has sha256 {actual}, "
            f"the release says {expected} ({len(data)} bytes read)"
        )
    try:
        return make(_read_tensors(data), _read_metadata(data))
    except SafetensorError as error:
        raise ModelError(f"{release.label} at {release.uri} is no safetensors file: {error}") from error
    except ModelError as error:
        raise ModelError(f"{release.label} at {release.uri} cannot be used: {error}") from error


def embedding_id(release: ModelRelease) -> bytes:
    """Return the eight bytes by which ledgers name a release: the first of its sum.

    Raises:
        ModelError: the release's sum is none.
    """
    return bytes.fromhex(_checked_sha256(release))[:8]


def manifest_uri(release: ModelRelease) -> str:
    """Return the URL of a release's manifest."""
    return f"{release.uri.rpartition('/')[0]}/{MANIFEST_FILE}"


def _write_once(release: ModelRelease, data: bytes) -> None:
    present = read_file(release.uri, MAX_RELEASE_BYTES)
    if present is None:
        write_file(release.uri, data)
        return
    found = sha256(present).hexdigest()
    if found != release.sha256:
        raise ModelError(
            f"{release.label} is already released with sha256 {found}, this model has {release.sha256}: "
            "choose another version"
        )


def _describe(release: ModelRelease, model: Releasable, size: int) -> dict[str, Any]:
    return {
        "manifest": 1,
        "name": release.name,
        "version": release.version,
        "kind": release.kind,
        "file": MODEL_FILE,
        "sha256": release.sha256,
        "bytes": size,
        **model.describe(),
        "metrics": release.metrics,
        "created_ms": release.ts_ms,
        "code_version": _code_version(),
    }


def _read_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        tensors: dict[str, NDArray[Any]] = safetensors.numpy.load(data)
    except KeyError as error:
        raise ModelError(f"it holds numbers of type {error.args[0]}, which numpy has not") from error
    return tensors


def _read_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a file that has been read already: its header is JSON after eight bytes of length."""
    length = int.from_bytes(data[:_HEADER_LENGTH_BYTES], "little")
    header = json.loads(data[_HEADER_LENGTH_BYTES : _HEADER_LENGTH_BYTES + length])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata


def _checked_sha256(release: ModelRelease) -> str:
    digest = release.sha256.lower()
    if not _SHA256.fullmatch(digest):
        raise ModelError(f"{release.label} must have a sha256 of 64 hexadecimal digits, got {release.sha256!r}")
    return digest


def _check_name(text: str, what: str) -> None:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{what} must be 1 to 64 letters, digits, '.', '_' or '-', got {text!r}")


def _code_version() -> str:
    try:
        return distribution_version("streamrec")
    except PackageNotFoundError:
        return "unknown"
