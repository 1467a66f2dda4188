"""Steps of DDPG a second: a plain loop, ours, and ours compiled, in turn on the same frames.

A step draws 25 users, makes a batch of all their frames (some 2,400 of MovieLens-100k's size) and updates critic,
actor (every tenth step) and targets, with networks of the same sizes. The plain loop is RecNN's: it makes frames in
Python for each batch, and computes the actor's loss at every step, whether it is used or not. Ours looks frames up and
computes what it uses. Its actor is held to the log by cloning, which costs something; its critic is not penalised here,
as RecNN's is not. On a GPU (``--device cuda``) a third side replays our steps as CUDA graphs, whose batches all have
the mean number of frames.
"""

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for both sides, as `streamrec train` has it

import numpy as np
import torch
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.harness import Side, add_arguments, measure, ratio, report
from benchmarks.training_sides.graphs import GraphedSteps
from benchmarks.training_sides.loop import FRAME_SIZE, GAMMA, POLICY_STEP, TAU, PlainDdpg, batches
from recommender.ranking.log import RatingLog
from recommender.rl.batches import FrameTensors, UserBatches
from recommender.rl.ddpg import Ddpg
from recommender.rl.frames import make_frames
from recommender.rl.networks import Actor
from recommender.rl.state import centre_ratings
from recommender.rl.training import ActorSettings

USERS, QUICK_USERS, ITEMS, DIM = 943, 200, 1682, 128
BATCH_USERS = 25
STEPS, QUICK_STEPS = 10, 3
SCALE = (0.5, 5.0)
POPULAR = 300
"""How many items further down one is rated 1/e times as often."""
EVERY_ROW = 1_000_000


def make_log(users: int, seed: int = 5) -> RatingLog:
    """Return a log of MovieLens-100k's shape: 20 to 700 ratings a user, 106 on average, few items having most of them.

    Some 2,400 frames of 25 users are of 900 distinct items, there as here.
    """
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(4.16, 1.0, users), 20, 700).astype(np.int64)
    # Gumbel's trick: the largest of these sums are draws without replacement, in proportion to exp(-row / POPULAR).
    appeal = -np.arange(ITEMS) / POPULAR
    drawn = [np.argsort(appeal + rng.gumbel(size=ITEMS))[-length:] for length in lengths]
    rows = np.concatenate([rng.permutation(own) for own in drawn])
    ratings = rng.integers(1, 11, len(rows)) * 5_000
    return RatingLog(np.repeat(np.arange(users), lengths), rows, ratings, tuple(map(str, range(users))), ITEMS)


def plain_side(log: RatingLog, vectors: torch.Tensor, steps: int, device: str = "cpu") -> Side:
    """Return RecNN's loop."""
    embeddings = {row: vectors[row] for row in range(ITEMS)}
    histories = []
    for user in range(len(log.user_ids)):
        own = log.users == user
        ratings = centre_ratings(log.ratings[own] / 10_000, SCALE).astype(np.float32)
        histories.append({"items": log.rows[own], "ratings": ratings})
    learner, source = PlainDdpg(DIM, device=device), batches(histories, embeddings, BATCH_USERS)
    return Side("plain loop", lambda: [learner.update(next(source)) for _ in range(steps)], steps)


def our_side(
    name: str, log: RatingLog, vectors: torch.Tensor, steps: int, *, device: str = "cpu", compiled: bool = False
) -> Side:
    """Return ours: eager, or its networks compiled, which on a GPU means its steps as CUDA graphs."""
    frames, vectors = make_frames(log, FRAME_SIZE, SCALE), vectors.to(device)
    tensors, learner = FrameTensors(frames).to(device), make_learner(vectors)
    places = UserBatches(frames, BATCH_USERS, EVERY_ROW, learner.settings.seed)
    if compiled and device != "cpu":
        rows = round(BATCH_USERS * len(frames) / len(np.unique(frames.users)))
        graphed = GraphedSteps(learner, tensors, rows)
        return Side(name, _replays(graphed, places, rows, steps), steps)
    if compiled:
        for actor in (learner.actor, learner.actor_target):
            actor.act = torch.compile(actor.act, dynamic=True)  # type: ignore[method-assign]
        for critic in (learner.critics[0], learner.critic_target):
            critic.value_of = torch.compile(critic.value_of, dynamic=True)  # type: ignore[method-assign]
    return Side(name, _steps(learner, tensors, places, steps), steps)


def make_learner(vectors: torch.Tensor, **changed: float) -> Ddpg:
    """Return ours before its first step, where the vectors are; values given override those of the benchmark."""
    settings = ActorSettings(
        **{
            "gamma": GAMMA,
            "tau": TAU,
            "policy_step": POLICY_STEP,
            "conservative": 0.0,
            "batch_users": BATCH_USERS,
            "batch_rows": EVERY_ROW,
            "dropout": 0.5,
            **changed,
        }
    )
    learner = Ddpg(Actor(FRAME_SIZE, DIM, settings.hidden, settings.dropout), vectors, settings)
    for network in (learner.actor, learner.actor_target, *learner.critics, learner.critic_target):
        network.to(vectors.device)
    return learner


def _steps(learner: Ddpg, tensors: FrameTensors, places: UserBatches, steps: int) -> Callable[[], None]:
    step = 0

    def run() -> None:
        nonlocal step
        for _ in range(steps):
            step += 1
            drawn = torch.from_numpy(places.places(step)).to(learner.vectors.device)
            learner.update(tensors.batch(drawn, learner.vectors), step)

    return run


def _replays(graphed: GraphedSteps, places: UserBatches, rows: int, steps: int) -> Callable[[], None]:
    step = 0

    def run() -> None:
        nonlocal step
        for _ in range(steps):
            step += 1
            graphed.take(torch.from_numpy(np.resize(places.places(step), rows)), step)
        torch.cuda.synchronize()

    return run


def read_device() -> argparse.Namespace:
    """Return the arguments; a device that is not there ends the program with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--device", default="cpu", help="cpu, or what torch calls a GPU")
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"torch sees no GPU here, got --device {arguments.device}: without it the processor is measured")
    return arguments


def main() -> None:
    """Measure and report."""
    arguments = read_device()
    device = arguments.device
    torch.manual_seed(5)
    log = make_log(QUICK_USERS if arguments.quick else USERS)
    vectors = torch.randn(ITEMS, DIM) / DIM**0.5
    steps = QUICK_STEPS if arguments.quick else STEPS
    compiled = "ours, compiled" if device == "cpu" else "ours, CUDA graphs"
    sides = [
        plain_side(log, vectors, steps, device),
        our_side("ours", log, vectors, steps, device=device),
        our_side(compiled, log, vectors, steps, device=device, compiled=True),
    ]
    try:
        sides[-1].run()
        note = ""
    except BackendCompilerFailed as error:
        note = f"compiled is left out, since torch.compile does not work here: {str(error).splitlines()[0]}"
        sides.pop()
    found = measure(sides, repeats=3 if arguments.quick else 5)
    plain = found["plain loop"]
    ratios = {"ours_vs_plain_loop": ratio(plain, found["ours"])}
    if compiled in found:
        ratios["compiled_vs_plain_loop"] = ratio(plain, found[compiled])
    rows = [each.row() | {"per_s": round(1 / each.median_s, 2)} for each in found.values()]
    threads = f"{torch.get_num_threads()} threads, which wait as OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']} says"
    note = f"{note}\nRatios are of steps a second. {threads}.".strip()
    named = device if device == "cpu" else torch.cuda.get_device_name(device)
    report("training", rows, ratios, packages=("torch", "numpy"), as_json=arguments.json, device=named, note=note)


if __name__ == "__main__":
    main()
