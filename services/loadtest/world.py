"""The catalogue and the releases of a recorded run: kept beside it, and published for a play of it."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from kafka.errors import KafkaError

from schemas.codec import decode_release, encode
from schemas.errors import DataError, EventError, ModelError, StreamrecError
from schemas.events import ModelRelease
from services.loadtest.record import FileRecorder, as_table, path_of, read_manifest, read_table
from streams.bus.clients import make_admin, make_producer
from streams.bus.compacted import CompactedReader
from streams.items import ItemTable, RecordPlace
from streams.models.files import read_file, resolve, write_file
from streams.models.releases import MAX_RELEASE_BYTES, MODEL_FILE
from streams.settings import Settings

ITEMS = pa.schema([("item_id", pa.string()), ("value", pa.binary()), ("listed", pa.bool_())])
READ_TIMEOUT_S = 60.0
SEND_TIMEOUT_S = 60.0


def keep_world(recorder: FileRecorder, settings: Settings) -> None:
    """Keep what ``items`` and ``models`` say now, and a copy of every released file.

    Raises:
        ConfigurationError: no broker answers, or a topic does not exist.
        StreamrecError: a topic was not read to its end in time.
        ModelError: a release is not where it was released.
    """
    table, releases = ItemTable(), dict[str, ModelRelease]()
    admin = make_admin(settings)
    try:
        _read(settings, admin, "items", lambda record: table.apply(_place_of(record), record.key, record.value))
        _read(settings, admin, "models", lambda record: _take_release(releases, record))
    finally:
        admin.close()
    entries = sorted(table.entries()[0], key=lambda entry: (entry.offset, entry.item.item_id))
    rows = [(entry.item.item_id, encode(entry.item), entry.listed) for entry in entries]
    pq.write_table(as_table(rows, ITEMS), path_of(recorder.directory, "items"), compression="zstd")
    for release in releases.values():
        data = read_file(release.uri, MAX_RELEASE_BYTES)
        if data is None:
            raise ModelError(f"{release.label} is not where it was released: there is no file {release.uri}")
        write_file(_uri_in(recorder.directory, release), data)
    recorder.note("releases", [msgspec.to_builtins(release) for release in releases.values()])


def publish_world(directory: Path, settings: Settings) -> None:
    """Publish the catalogue of a record, in its order, and its releases, under the names they had.

    Raises:
        DataError: the record does not hold them, or they cannot be read.
        ConfigurationError: no broker answers.
        StreamrecError: the broker did not take a record.
    """
    releases = _read_releases(directory)
    rows = read_table(directory, "items", ITEMS).to_pylist()
    producer = make_producer(settings)
    items, models = settings.topic("items"), settings.topic("models")
    try:
        # One partition: offsets of several say which item comes first only where these are as many as they were.
        described = [producer.send(items, key=row["item_id"].encode(), value=row["value"], partition=0) for row in rows]
        withdrawn = [
            producer.send(items, key=row["item_id"].encode(), value=None, partition=0)
            for row in rows
            if not row["listed"]
        ]
        released = [producer.send(models, key=each.name.encode(), value=encode(each)) for each in releases]
        for future in [*described, *withdrawn, *released]:
            future.get(timeout=SEND_TIMEOUT_S)
    except KafkaError as error:
        raise StreamrecError(f"the catalogue of {directory} could not be published: {error!r}") from error
    finally:
        producer.close(timeout=SEND_TIMEOUT_S)


def _read_releases(directory: Path) -> list[ModelRelease]:
    """Return the releases of a record, whose files are those in its folder."""
    said = read_manifest(directory).get("releases")
    if not isinstance(said, list):
        raise DataError(
            f"{directory} holds no catalogue and releases: describe the items and release the models yourself"
        )
    try:
        releases = [decode_release(msgspec.json.encode(one)) for one in said]
    except EventError as error:
        raise DataError(f"{directory / 'manifest.json'}: a release cannot be read: {error}") from error
    kept = [msgspec.structs.replace(release, uri=_uri_in(directory, release)) for release in releases]
    if missing := [release.label for release in kept if read_file(release.uri, MAX_RELEASE_BYTES) is None]:
        raise DataError(f"{directory} must have the file of {missing[0]}, it has none")
    return kept


def _uri_in(directory: Path, release: ModelRelease) -> str:
    return f"{resolve(str(directory))}/models/{release.name}/{release.version}/{MODEL_FILE}"


def _read(settings: Settings, admin: Any, role: Any, take: Any) -> None:
    def take_all(records: list[Any]) -> None:
        for record in records:
            try:
                take(record)
            except EventError:
                continue  # nobody else took it in, either

    reader = CompactedReader(settings, admin, settings.topic(role), take_all)
    reader.start()
    try:
        reader.wait_until_caught_up(READ_TIMEOUT_S)
    finally:
        reader.stop()


def _take_release(releases: dict[str, ModelRelease], record: Any) -> None:
    if record.value is None:
        releases.pop((record.key or b"").decode(errors="replace"), None)
    else:
        release = decode_release(record.value)
        releases[release.name] = release


def _place_of(record: Any) -> RecordPlace:
    return RecordPlace(record.partition, record.offset, record.timestamp)
