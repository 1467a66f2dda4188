"""The state made anew from the log: beside the live generation, compared with it, then flipped in."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recommender.hashing import hash_ids
from schemas.errors import EventsLost, LogTooShort, Refusal
from services.admin.compare import Comparison, ItemNames, compare_generations
from services.admin.generations import drop_generations, next_number, require_generation, require_idle
from services.admin.refold import open_refolder, taken_over
from services.admin.site import OnStage, Site, open_site
from streams.settings import Settings
from streams.store.calls import as_unavailable, call_script
from streams.store.generations import Generation
from streams.store.scripts import FLIP, check_reply
from streams.store.writer import Watermark


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        live: the generation that was live when it began.
        built: the one made from the log.
        comparison: the two beside one another.
        truncated: partitions whose first records the log has lost, and how many.
        is_flipped: whether the new one is live now.
    """

    live: Generation
    built: Generation
    comparison: Comparison
    truncated: dict[int, int]
    is_flipped: bool


def rebuild_state(settings: Settings, on_stage: OnStage, *, accepts_difference: bool = False) -> Rebuilt:
    """Make the state anew from the log, up to where it is now, and flip it in when both have the same digest.

    Args:
        settings: bus, store and namespace; the number of shards where one is set, else it stays.
        on_stage: told of the progress.
        accepts_difference: flip although the digests differ.

    Raises:
        StreamrecError: there is no state, a worker commits, or somebody took the state over; nothing was flipped.
        Halt: log and state contradict one another; nothing was flipped.
        ConfigurationError: no broker answers, or a topic does not exist.
        StoreUnavailable: the store did not answer; running it again is safe.
    """
    with open_site(settings, on_stage) as site:
        live = require_generation(site.client, settings)
        shards = settings.shards if "shards" in settings.model_fields_set else live.shards
        require_idle(site.client, live.all_keys(settings.namespace), site.topic.topic_id, site.topic.partitions)
        targets = asyncio.run(_take_live(site, live))
        built = _begin(site.client, settings, live, shards)
        asyncio.run(_build(site, built, targets))
        on_stage("comparing", None)
        ids = site.snapshot.catalogue.item_ids
        names = ItemNames(zip(hash_ids(ids).tolist(), ids, strict=True))
        comparison = compare_generations(
            site.client, live.all_keys(settings.namespace), built.all_keys(settings.namespace), names
        )
        flips = comparison.is_equal or accepts_difference
        if flips:
            _keep_breakers(site, live, built, targets)
            _flip(site, live, built, targets)
        else:
            _require_held(site, live, built, targets)
        return Rebuilt(live, built, comparison, site.log.truncated, flips)


async def _take_live(site: Site, live: Generation) -> dict[int, int]:
    """Take what the live generation knows, bring its shards level, and return where each partition is."""
    async with open_refolder(site.settings, live, site.snapshot, site.owner) as refolder:
        sessions = await site.take(refolder, dict.fromkeys(range(site.topic.partitions)), {})
        targets = {partition: max(session.next_offsets) for partition, session in sessions.items()}
        for partition, session in sessions.items():
            session.forgiven = targets[partition]
            _check_log(site, partition, session.position, targets[partition])
        behind = {
            partition: session for partition, session in sessions.items() if session.position < targets[partition]
        }
        if behind:
            records = sum(targets[partition] - session.position for partition, session in behind.items())
            await refolder.fold(site.log, behind, targets, site.on_stage("bringing shards level", records))
    return targets


async def _build(site: Site, built: Generation, targets: Mapping[int, int]) -> None:
    """Fold the log into a generation beside the live one, up to where that one is."""
    starts = {partition: min(site.log.starts[partition], target) for partition, target in targets.items()}
    async with open_refolder(site.settings, built, site.snapshot, site.owner) as refolder:
        sessions = await site.take(refolder, starts, targets)
        records = sum(targets[partition] - start for partition, start in starts.items())
        await refolder.fold(site.log, sessions, targets, site.on_stage("rebuilding", records))


def _check_log(site: Site, partition: int, position: int, target: int) -> None:
    where = f"the log of {site.topic.name!r} partition {partition}"
    start, end = site.log.starts[partition], site.log.ends[partition]
    if end < target:
        raise LogTooShort(
            f"{where} ends at offset {end}, but the state has applied up to {target}: the broker lost events, or this "
            "is another log"
        )
    if position < target and start > position:
        raise EventsLost(
            f"{where} starts at offset {start}, but a shard has applied only up to {position}: {start - position} "
            "events were removed before they were applied"
        )


def _begin(client: Any, settings: Settings, live: Generation, shards: int) -> Generation:
    """Name the generation that is made now, which ends a rebuild that still runs; remove what one left unfinished."""
    most = max(live.shards, shards)
    with as_unavailable():
        unfinished = int(client.get(live.keys(settings.namespace, 0).building) or 0)
    built = Generation(next_number(client, settings.namespace, most), shards, is_built=True)
    with as_unavailable():
        client.set(built.keys(settings.namespace, 0).shards, shards)
        for shard in range(most):
            client.set(built.keys(settings.namespace, shard).building, built.number)
    if unfinished:
        drop_generations(client, settings, unfinished)
    return built


def _require_held(site: Site, live: Generation, built: Generation, partitions: Mapping[int, int]) -> None:
    """Refuse to speak of a difference where a worker moved the state on, or somebody ended the rebuild."""
    keys = live.keys(site.settings.namespace, 0)
    with as_unavailable():
        number = site.client.get(keys.building)
        values = [site.client.get(keys.watermark(site.topic.topic_id, partition)) for partition in partitions]
    if number is None or int(number) != built.number:
        raise taken_over(f"generation {built.number} is not being built any more")
    if any(value is None or Watermark.parse(value).owner != site.owner for value in values):
        raise taken_over("a worker holds a partition")


def _keep_breakers(site: Site, live: Generation, built: Generation, partitions: Mapping[int, int]) -> None:
    """Give the new generation the dead-letter breakers: an open one stays open, judged records stay judged."""
    before, after = (generation.keys(site.settings.namespace, 0) for generation in (live, built))
    with as_unavailable():
        for partition in partitions:
            kept = site.client.get(before.breaker(site.topic.topic_id, partition))
            if kept is not None:
                site.client.set(after.breaker(site.topic.topic_id, partition), kept)


def _flip(site: Site, live: Generation, built: Generation, partitions: Mapping[int, int]) -> None:
    """Make the generation built the live one: for readers by the first write, that of shard 0.

    Raises:
        StreamrecError: somebody took a partition over, or ended the rebuild; nothing was flipped.
    """
    for shard in range(max(live.shards, built.shards)):
        keys = live.keys(site.settings.namespace, shard)
        held = [keys.watermark(site.topic.topic_id, partition) for partition in partitions] if shard == 0 else []
        script_keys = [keys.live_generation, keys.building, *held]
        try:
            check_reply(call_script(site.client, FLIP, script_keys, [built.number, site.owner]))
        except Refusal as error:
            if shard > 0:  # a worker that came at once has brought this one forward
                continue
            raise taken_over(error) from error
