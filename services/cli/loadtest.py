"""``streamrec loadtest``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from schemas.errors import ConfigurationError
from services.cli.flags import SettingsArgument
from services.cli.sources import ColumnsArgument
from streams.signals import interrupt_on_sigterm

INTERRUPTED_EXIT_CODE = 130

_POSITIVE = validators.Number(gt=0)
_AT_LEAST_0 = validators.Number(gte=0)


def loadtest(
    *,
    replay: str | None = None,
    rate: Annotated[float | None, Parameter(validator=_POSITIVE)] = None,
    speed: Annotated[float | None, Parameter(validator=_POSITIVE)] = None,
    ramp: str | None = None,
    requests_per_rating: Annotated[float, Parameter(validator=_AT_LEAST_0)] = 1.0,
    duration: Annotated[float | None, Parameter(validator=_POSITIVE)] = None,
    out: Path = Path("loadtest"),
    embedded: Annotated[bool, Parameter(negative="")] = False,
    find_knee: Annotated[bool, Parameter(negative="")] = False,
    compare: tuple[Path, Path] | None = None,
    assertion: Annotated[list[str] | None, Parameter(name="--assert", negative="")] = None,
    record: Path | None = None,
    again: Path | None = None,
    serial: Annotated[bool, Parameter(negative="")] = False,
    onto_state: Annotated[bool, Parameter(negative="")] = False,
    items: str | None = None,
    columns: ColumnsArgument = None,
    probe_share: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.05,
    deadline_ms: Annotated[int, Parameter(validator=_POSITIVE)] = 60_000,
    warm_up: Annotated[float, Parameter(validator=_AT_LEAST_0)] = 1.0,
    drain: Annotated[float, Parameter(validator=_AT_LEAST_0)] = 30.0,
    generators: Annotated[int, Parameter(validator=_POSITIVE)] = 1,
    watch: Annotated[list[str] | None, Parameter(negative="")] = None,
    settings: SettingsArgument,
) -> int:
    """Put a system under load on a fixed schedule and measure it; 1 when something came out wrong.

    Wrong are a request without an answer, a state that is not what was played, a dead letter too many or too few, and
    an assertion that does not hold. Ratings come by --rate, --speed or --ramp.

    Args:
        replay: movielens-100k, a file of ratings, or synthetic:USERS,ITEMS,EVENTS for a generated load.
        rate: ratings a second.
        speed: multiple of the speed at which the log itself ran, by ts_ms.
        ramp: A:B, ratings a second at the start and at the end; needs --duration.
        requests_per_rating: how many requests go out for each rating.
        duration: seconds of the schedule; as long as there are ratings by default.
        out: folder for report.json, report.html and report.png.
        embedded: bring up broker, store, worker, scorer and catalogue, and end them afterwards.
        find_knee: search for the rate at which the system saturates, from --rate on, by points of --duration seconds.
        compare: two folders or report.json files to draw over one another; nothing is run.
        assertion: a claim about a figure, such as 'p99_ms<10'; may be given again.
        record: folder in which to keep events, schedule and answers, for --again.
        again: folder of such a record, to play once more in logical order and compare answer by answer.
        serial: with --again, all users in one order, so that what used item statistics is compared too.
        onto_state: with --again, play onto a log and users that are known already; their answers will differ.
        items: the items, a file or data set; those of the source by default.
        columns: what a file of ratings calls a column.
        probe_share: share of the ratings after which a request waits for it, to see when it is visible.
        deadline_ms: of every request.
        warm_up: seconds at the start that are not measured.
        drain: seconds to wait at the end for what is outstanding.
        generators: processes that send ratings.
        watch: NAME=PID of a further process whose memory and cores are measured; may be given again.
        settings: from flags, environment and files.
    """
    _load_extra()
    from services.cli import loadtest_again as plays  # noqa: PLC0415 - an extra
    from services.cli import loadtest_run as runs  # noqa: PLC0415 - an extra

    if assertion and (compare is not None or again is not None or find_knee):
        raise ConfigurationError("--assert is about one run: leave out --compare, --again and --find-knee")
    if compare is not None:
        return runs.compare_reports(*compare, out)
    if again is not None:
        if replay is not None or record is not None or find_knee:
            raise ConfigurationError("--again plays a record: leave out --replay, --record and --find-knee")
        return _interruptible(
            lambda: plays.play_record(again, settings, serial=serial, embedded=embedded, has_state=onto_state, out=out)
        )
    if serial or onto_state:
        raise ConfigurationError("--serial and --onto-state say how to play --again")
    if record is not None and find_knee:
        raise ConfigurationError("--record keeps one run, --find-knee makes many: give one of them")
    if replay is None:
        raise ConfigurationError("say what to play by --replay, or give --compare or --again")
    with _as_configuration_error():
        asked = runs.Asked(
            source=replay,
            items=items,
            columns=columns,
            terms=runs.make_terms(
                rate=rate,
                speed=speed,
                ramp=ramp,
                find_knee=find_knee,
                per_rating=requests_per_rating,
                duration_s=duration,
                probe_share=probe_share,
                deadline_ms=deadline_ms,
                warm_up_s=warm_up,
                drain_s=drain,
                generators=generators,
                seed=settings.seed,
            ),
            out=out,
            embedded=embedded,
            claims=runs.parse_claims(assertion or []),
            record=record,
            watch=runs.parse_watch(watch or []),
        )
    return _interruptible(lambda: (runs.find_the_knee if find_knee else runs.measure)(asked, settings))


def _interruptible(work: Callable[[], int]) -> int:
    try:
        with interrupt_on_sigterm():
            return work()
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE


@contextmanager
def _as_configuration_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _load_extra() -> None:
    try:
        import confluent_kafka  # noqa: F401, PLC0415
        import hdrh  # noqa: F401, PLC0415
        import psutil  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"loadtest needs the module {error.name}: install streamrec[loadtest]") from error
