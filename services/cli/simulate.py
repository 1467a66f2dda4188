"""``streamrec simulate``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from recommender.catalogue import VectorsOf
from recommender.policies import PolicySettings
from recommender.simulation.curves import Curve, curves_of
from recommender.simulation.experiment import Mode, Outcomes, Terms
from recommender.simulation.people import People
from schemas.errors import ConfigurationError, DataError
from schemas.events import Item
from services.cli.flags import SettingsArgument
from services.cli.show import note, progress_bar, say, show_table
from services.cli.sources import BadLines, ColumnsArgument, load_items, load_ratings
from services.lab.datasets import DATASETS, load_dataset
from services.lab.people import gather_people
from services.lab.plots import draw_html, draw_png, make_panels
from services.lab.simulation import count_differences, name_policies, run_policy, write_choices, write_curves
from services.lab.vectors import read_vectors, train_vectors
from streams.settings import Settings

COMPAT_EPSILON = PolicySettings().compat_epsilon


def simulate(
    *,
    ratings: str,
    embeddings: str = "autoencoder",
    items: str | None = None,
    policy: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    steps: int = 100,
    users: int | None = None,
    s: float = PolicySettings().s,
    epsilon: float | None = None,
    mode: Literal["compat", "default"] = "compat",
    repeats: bool | None = None,
    seed: int = 7,
    out: Path = Path("simulation"),
    columns: ColumnsArgument = None,
    through_bus: Annotated[bool, Parameter(negative="")] = False,
    settings: SettingsArgument,
) -> int:
    """Run the bandit off line on a log of ratings: users meet the items they rated, a policy picks, the rating answers.

    Args:
        ratings: movielens-100k, synthetic, or a file (csv, tsv, parquet, jsonl) with user_id, item_id and rating.
        embeddings: autoencoder or pca, trained on the items, or a parquet file with item_id, x0, x1, ...
        items: the items to train on, a file or data set; those of the ratings' data set by default.
        policy: one or several of random, greedy, epsilon_greedy and ucb, or module:object for your own.
        steps: how many items each user meets.
        users: how many users take part, by a seeded choice; all by default, and where there are fewer.
        s: memory of novelty, in steps.
        epsilon: epsilon_greedy's chance of a uniform draw; by default 0.3 in compat mode, else the setting.
        mode: compat for the notebook's rules to the letter, default for this project's.
        repeats: whether an item may come again; by default in compat mode only, which knows nothing else.
        seed: of every draw, the choice of users and the training.
        out: folder for choices.parquet, curves.parquet, curves.html and curves.png.
        columns: what the file of ratings calls a column.
        through_bus: send every choice and rating through broker, worker, store and scorer of the settings, under names
            of their own, and compare with the run off line; exit code 1 when they differ.
        settings: from flags, environment and files.
    """
    names = name_policies(policy, mode)
    terms, parameters = _checked(steps, users, mode, repeats, s, epsilon, settings)
    people = _gather(ratings, embeddings, items, columns, users, seed, settings)
    _make_folder(out)
    outcomes = _run_offline(people, names, terms, parameters, seed)
    verdict = 0
    if through_bus:
        offline, outcomes = outcomes, _run_online(people, names, terms, parameters, seed, settings)
        verdict = _compare(people, outcomes, offline)
    where = "through the bus" if through_bus else "off line"
    title = f"{len(people.user_ids):,} users of {Path(ratings).name}, {steps} steps, {mode} mode, seed {seed}, {where}"
    _write(people, outcomes, mode, out, title)
    return verdict


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out} cannot be made: {error}") from error


def _run_offline(
    people: People, names: list[str], terms: Terms, parameters: PolicySettings, seed: int
) -> dict[str, Outcomes]:
    outcomes = {}
    with progress_bar() as progress:
        task = progress.add_task("policies", total=len(names))
        for name in names:
            progress.update(task, description=name)
            outcomes[name] = run_policy(people, name, terms, parameters, seed)
            progress.advance(task)
    return outcomes


def _run_online(
    people: People, names: list[str], terms: Terms, parameters: PolicySettings, seed: int, settings: Settings
) -> dict[str, Outcomes]:
    from services.cli.simulate_bus import run_through_bus  # noqa: PLC0415 - off line there are no servers

    with progress_bar() as progress:
        task = progress.add_task("steps through the bus", total=len(names) * len(people.user_ids) * terms.steps)
        return run_through_bus(people, names, terms, parameters, seed, settings, on_step=lambda: progress.advance(task))


def _compare(people: People, online: dict[str, Outcomes], offline: dict[str, Outcomes]) -> int:
    differences, first = count_differences(people, online, offline)
    total = sum(each.rows.size for each in online.values())
    if first is None:
        say(f"all {total:,} choices through the bus are those of the run off line, and so are their scores")
        return 0
    say(f"{differences:,} of {total:,} choices through the bus are not those of the run off line; the first: {first}")
    return 1


def _write(people: People, outcomes: dict[str, Outcomes], mode: Mode, out: Path, title: str) -> None:
    curves = {name: curves_of(each) for name, each in outcomes.items()}
    rows = write_choices(out / "choices.parquet", people, outcomes.items())
    write_curves(out / "curves.parquet", curves)
    panels = make_panels(curves, mode)
    draw_png(panels, f"{title}; bands: 95 %", out / "curves.png")
    draw_html(panels, f"{title}; bands: 95 %", out / "curves.html")
    _report(curves, title)
    say(f"{rows:,} choices in {out / 'choices.parquet'}; curves.parquet, curves.html and curves.png beside it")


def _checked(
    steps: int,
    users: int | None,
    mode: Mode,
    repeats: bool | None,
    s: float,
    epsilon: float | None,
    settings: Settings,
) -> tuple[Terms, PolicySettings]:
    if users is not None and users < 1:
        raise ConfigurationError(f"users must be at least 1, got {users}")
    try:
        terms = Terms(steps=steps, mode=mode, repeats=mode == "compat" if repeats is None else repeats)
        parameters = PolicySettings(
            s=s,
            c=settings.ucb_c,
            prior=(settings.rating_min + settings.rating_max) / 2,
            epsilon=settings.epsilon if epsilon is None else epsilon,
            epsilon_decay=settings.epsilon_decay,
            compat_epsilon=COMPAT_EPSILON if epsilon is None else epsilon,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return terms, parameters


def _gather(
    ratings: str,
    embeddings: str,
    items: str | None,
    columns: dict[str, str] | None,
    users: int | None,
    seed: int,
    settings: Settings,
) -> People:
    bad = BadLines()
    known, vectors_of = _vectors(embeddings, items, ratings, seed, bad)
    events, _ = load_ratings(ratings, columns, settings, bad)
    people = gather_people(events, known, vectors_of, users=users, seed=seed)
    if bad.count:
        note(f"{bad.count} lines were left out")
    if users is not None and len(people.user_ids) < users:
        note(f"{users} users were asked for, {ratings} has {len(people.user_ids)}: all take part")
    if lacking := int((~people.catalogue.has_vector).sum()):
        note(f"{lacking} of {people.catalogue.size} items have no vector: their product with a user's taste is 0")
    return people


def _vectors(
    embeddings: str, items: str | None, ratings: str, seed: int, bad: BadLines
) -> tuple[list[Item], VectorsOf]:
    """Return the items that are known, none where vectors come from a file, and what gives them their vectors."""
    if embeddings not in {"autoencoder", "pca"}:
        return [], read_vectors(Path(embeddings))
    if items is None and ratings not in DATASETS:
        raise ConfigurationError(f"--embeddings {embeddings} trains on items: say which by --items FILE")
    known = load_dataset(ratings).items if items is None else list(load_items(items, None, bad))
    return known, train_vectors("pca" if embeddings == "pca" else "autoencoder", known, seed).vectors_for


def _report(curves: dict[str, dict[str, Curve]], title: str) -> None:
    rows = []
    for name, measures in curves.items():
        regret, rating, error = (measures[each] for each in ("cumulative_regret", "rating", "sq_error"))
        rows.append(
            (
                name,
                f"{regret.mean[-1]:.2f} ± {regret.error[-1]:.2f}",
                f"{_mean(rating):.3f}",
                f"{_mean(error) ** 0.5:.3f}",
                f"{_mean(measures['seconds']) * 1e6:.1f}",
            )
        )
    show_table(title, ("policy", "cumulative regret at the end", "mean rating", "RMSE", "us a user's step"), rows)


def _mean(curve: Curve) -> float:
    """Return the mean over the steps that anybody took."""
    taken = curve.mean[1:][curve.mean[1:] == curve.mean[1:]]
    return float(taken.mean())
