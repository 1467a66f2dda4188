"""`streamrec top`: how a running system does, live."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from schemas.errors import ConfigurationError
from services.admin.scrapes import Scrape, scrape
from services.admin.vitals import Vitals, read_vitals
from services.cli.flags import SettingsArgument
from services.cli.show import out, write_bytes
from services.cli.top_view import draw
from streams.endpoint import LISTED, listed_endpoints
from streams.settings import Settings

PIPED_WIDTH = 132


def top(
    *,
    url: Annotated[list[str] | None, Parameter(negative=())] = None,
    every: float = 1.0,
    once: bool = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    settings: SettingsArgument,
) -> int:
    """Show how workers and scorers do, by their endpoints, until Ctrl-C; exit code 1 when one is not ready at the end.

    Args:
        url: an endpoint, as http://host:9464; may be given several times. Else those that processes of this directory
            serve on free ports, else metrics_host and metrics_port.
        every: seconds between two looks.
        once: show one frame, of two looks, and end.
        as_json: one JSON object a frame.
        settings: from flags, environment and files.
    """
    if not every > 0:
        raise ConfigurationError(f"every must be above 0, got {every}")
    urls = url or listed_endpoints() or _of_settings(settings)
    with ThreadPoolExecutor(len(urls)) as pool:
        seen = list(pool.map(scrape, urls))
        if once or as_json or not out.is_terminal:
            return _print_frames(pool, seen, every, once=once, as_json=as_json)
        return _show_live(pool, seen, every)


def _of_settings(settings: Settings) -> list[str]:
    if not settings.metrics_port:
        raise ConfigurationError(
            f"no endpoint is known: {LISTED} lists none, and metrics_port is not set; start worker and scorer with "
            "--metrics-port 0 in this directory, or name endpoints by --url http://host:port"
        )
    host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
    return [f"http://{host}:{settings.metrics_port}"]


def _look(pool: ThreadPoolExecutor, before: Sequence[Scrape], every: float) -> tuple[list[Scrape], list[Vitals]]:
    time.sleep(every)
    now = list(pool.map(scrape, [each.url for each in before]))
    vitals = [read_vitals(*pair) for pair in zip(before, now, strict=True)]
    return now, sorted(vitals, key=lambda each: (each.role != "worker", each.role, each.url))


def _print_frames(pool: ThreadPoolExecutor, seen: Sequence[Scrape], every: float, *, once: bool, as_json: bool) -> int:
    console = out if out.is_terminal else Console(width=PIPED_WIDTH)
    vitals: list[Vitals] = []
    try:
        while True:
            seen, vitals = _look(pool, seen, every)
            if as_json:
                write_bytes(msgspec.json.encode({"processes": vitals}))
            else:
                console.print(draw(vitals))
            if once:
                break
    except KeyboardInterrupt:
        pass
    return _exit_code(vitals)


def _show_live(pool: ThreadPoolExecutor, seen: Sequence[Scrape], every: float) -> int:
    vitals: list[Vitals] = []
    try:
        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                seen, vitals = _look(pool, seen, every)
                live.update(draw(vitals), refresh=True)
    except KeyboardInterrupt:
        out.print(draw(vitals))
    return _exit_code(vitals)


def _exit_code(vitals: Sequence[Vitals]) -> int:
    return int(not all(each.ready for each in vitals))
