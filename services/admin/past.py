"""The state as it was at a moment, made from the log in a namespace of its own: for looking at, never flipped."""

import asyncio
import re

from schemas.errors import ConfigurationError
from services.admin.generations import PAST_SCALE, drop_past
from services.admin.refold import open_refolder
from services.admin.site import OnStage, Site, open_site
from services.admin.until import Until
from streams.settings import NAMESPACE_PATTERN, Settings
from streams.store.calls import as_unavailable
from streams.store.generations import Generation, scale_line


def build_past(settings: Settings, into: str, until: Until, on_stage: OnStage) -> dict[int, int]:
    """Make the state of a moment in another namespace; one made there before is replaced.

    Its scale says which moment it is of, so that no worker goes on with it and no scorer answers from it.

    Args:
        settings: bus and store, and the number of shards.
        into: the namespace.
        until: the moment.
        on_stage: told of the progress.

    Returns:
        The partitions whose first records the log has lost, and how many.

    Raises:
        ConfigurationError: the namespace is no name, or the live one's; or no broker answers, or a topic is missing.
        StreamrecError: the namespace holds a state that is no past one.
        StoreUnavailable: the store did not answer; running it again is safe.
    """
    if not re.match(NAMESPACE_PATTERN, into):
        raise ConfigurationError(f"--into must match {NAMESPACE_PATTERN}, got {into!r}")
    if into == settings.namespace:
        raise ConfigurationError(f"--into must be another namespace than the state's, got {into!r}")
    there = settings.model_copy(update={"namespace": into})
    with open_site(there, on_stage) as site:
        until.check(site.log.ends)
        drop_past(site.client, into)
        generation = Generation(1, settings.shards)
        scale = f"{PAST_SCALE}{until}, {settings.rating_scale}"
        with as_unavailable():
            site.client.set(generation.keys(into, 0).scale, scale_line(scale, settings.shards))
            site.client.set(generation.keys(into, 0).shards, settings.shards)
        asyncio.run(_build(site, generation, until, scale))
        return site.log.truncated


async def _build(site: Site, generation: Generation, until: Until, scale: str) -> None:
    ends = {p: min(end, until.ends(site.log.ends).get(p, end)) for p, end in site.log.ends.items()}
    starts = {p: start for p, start in site.log.starts.items() if start < ends[p]}
    async with open_refolder(site.settings, generation, site.snapshot, site.owner, scale) as refolder:
        sessions = await site.take(refolder, starts, ends)
        records = sum(ends[p] - start for p, start in starts.items())
        await refolder.fold(site.log, sessions, ends, site.on_stage("rebuilding", records), until.includes)
