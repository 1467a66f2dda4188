"""The items nearest to what an actor says, found by an index and by distances of all rows: ``--quick`` and ``--json``.

One user asks for ten of all items but two; model and user are random, D = 128. Both sides ask the policy for the same
slate. The second names its candidates in an order that an index does not serve: the last two change places.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Row, Side, measure, ratio, read_arguments, report
from recommender.catalogue import Catalogue, CatalogueEntry, LabelledModel, build_catalogue
from recommender.draws import Draws
from recommender.embeddings.layers import Layer
from recommender.ledger.layout import ENTRY
from recommender.policies import PolicySettings, SlateRequest, make_policy, prepare_search
from recommender.profile import Profile, build_profile
from recommender.rl.indices import INDICES
from recommender.rl.model import ActorModel
from recommender.rl.state import state_size
from recommender.statistics import StatisticsView
from schemas.events import Item

SIZES, QUICK_SIZES = (1_000, 10_000, 100_000), (1_000, 10_000)
DIM, FRAME_SIZE, K = 128, 2, 10
RATED = np.array([7, 11])
REQUESTS = 20


def make_catalogue(size: int, rng: np.random.Generator) -> Catalogue:
    """Return items of which an actor without hidden layers knows all."""
    inputs = state_size(FRAME_SIZE, DIM)
    layer = Layer(rng.normal(size=(DIM, inputs)) / inputs**0.5, np.zeros(DIM))
    ids = tuple(f"i{row}" for row in range(size))
    model = ActorModel("ddpg", ids, rng.normal(size=(size, DIM)) / DIM**0.5, FRAME_SIZE, (0.5, 5.0), (layer,))
    entries = [CatalogueEntry(Item(item_id=each), row) for row, each in enumerate(ids)]
    return build_catalogue(entries, models={"ddpg": LabelledModel("ddpg@1", model)})


def make_user(catalogue: Catalogue) -> Profile:
    """Return a user who rated two items."""
    entries = np.zeros(len(RATED), dtype=ENTRY)
    entries["item"], entries["count"], entries["rating_sum"] = catalogue.hashes[RATED], 1, 45_000
    entries["last_t"] = np.arange(len(RATED))
    return build_profile("u", len(RATED), None, np.sort(entries, order="item"), catalogue)


def sides_of(distance: str, catalogue: Catalogue) -> Iterator[Side]:
    """Yield the side that searches and the one that does not; both gave the same slate once."""
    policy, profile = make_policy("ddpg", PolicySettings(actor_distance=distance)), make_user(catalogue)
    statistics, draws = StatisticsView.empty(catalogue.size), Draws(7, "u", "r")
    rows = np.setdiff1d(np.arange(catalogue.size), RATED)
    swapped = np.concatenate((rows[:-2], rows[:-3:-1]))
    requests = {"index": SlateRequest(K, rows), "all rows": SlateRequest(K, swapped)}
    slates = [policy.slate(each, profile, catalogue, statistics, draws) for each in requests.values()]
    assert slates[0].rows.tolist() == slates[1].rows.tolist()
    assert slates[0].scores.tolist() == slates[1].scores.tolist()
    for name, request in requests.items():
        yield Side(
            f"{catalogue.size:,} items, {distance}, {name}",
            lambda own=request: [policy.slate(own, profile, catalogue, statistics, draws) for _ in range(REQUESTS)],
            REQUESTS,
        )


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("nearest", __doc__)
    rng = np.random.default_rng(5)
    rows: list[Row] = []
    ratios = {}
    for size in QUICK_SIZES if arguments.quick else SIZES:
        catalogue = make_catalogue(size, rng)
        prepare_search(catalogue)
        for distance in INDICES:
            ours, plain = measure(list(sides_of(distance, catalogue)), repeats=3 if arguments.quick else 5).values()
            rows += [ours.row(), plain.row()]
            ratios[f"index_vs_all_rows_{distance}_{size}"] = ratio(plain, ours)
    report("nearest", rows, ratios, packages=("numpy", "numba"), as_json=arguments.json)


if __name__ == "__main__":
    main()
