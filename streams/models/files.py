"""Whole files under a path or any fsspec URL: read up to a limit, written so that no reader sees half of one."""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import ModelError


def resolve(url: str) -> str:
    """Return a path or URL as an absolute URL without a trailing slash, so that it means the same in every process.

    Raises:
        ModelError: no file system serves the URL.
    """
    system, path = _open_system(url)
    return str(system.unstrip_protocol(path)).rstrip("/")


def read_file(url: str, max_bytes: int) -> bytes | None:
    """Return a file's bytes; None where there is no such file.

    Raises:
        ModelError: it cannot be read, or is larger than ``max_bytes``.
    """
    system, path = _open_system(url)
    try:
        with system.open(path, "rb") as file:
            data: bytes = file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise ModelError(f"{url} cannot be read: {error!r}") from error
    if len(data) > max_bytes:
        raise ModelError(f"{url} must have at most {max_bytes} bytes, found more")
    return data


def write_file(url: str, data: bytes) -> None:
    """Write a file as a whole or not at all; directories are made.

    On a local disk the bytes are synced beside the file and renamed over it; an object store's put is one step anyway.

    Raises:
        ModelError: it cannot be written.
    """
    system, path = _open_system(url)
    try:
        if isinstance(system, LocalFileSystem):
            _write_local(Path(path), data)
        else:
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.pipe_file(path, data)
    except Exception as error:
        raise ModelError(f"{url} cannot be written: {error!r}") from error


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _open_system(url: str) -> tuple[Any, str]:
    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as error:
        raise ModelError(f"no file system serves {url!r}: {error!r}") from error
    return system, str(path)
