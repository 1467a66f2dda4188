"""``streamrec train ddpg``, ``td3``, ``reinforce``, ``bcq``, ``qlearning`` and ``sarsa``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter
from rich.progress import Progress, TextColumn

from recommender.rl.training import ActorSettings
from schemas.errors import ConfigurationError
from services.admin.releases import publish_release
from services.cli.flags import SettingsArgument, limits_of
from services.cli.show import err, say
from services.cli.sources import ColumnsArgument
from services.cli.train_sequence import ratings_of
from services.lab.next_item import gather_log
from services.lab.vectors import read_vectors
from services.trainer.actor import ActorRelease, Outputs, train_actor_release
from streams.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ActorFlags:
    """What the six commands take.

    Attributes:
        data: movielens-100k, synthetic, or a file of ratings; the log of ratings on the bus by default.
        items: what else is in the catalogue, a file or data set; those of the data set by default.
        columns: what the file of ratings calls a column.
        embeddings: where the item vectors begin, a file (parquet, npz, safetensors, pt); factors of the ratings by
            default.
        clone_steps: of cloning, which comes first.
        steps: of the algorithm, after cloning, at most; held-out users tell when to stop.
        padded: learn from users' first ratings too, states padded, and answer from a user's first rating on.
        encoder: what an actor reads a state by: flat, its layers, or lstm, event by event.
        seed: of every random number in the training.
        checkpoint: a file where to go on; one that is there is gone on from.
        tensorboard: write scalars for TensorBoard to this folder.
        plot: draw losses, values and actions to this PNG file.
        frames: keep the frames of the log in this folder, and use them where they are there.
        publish: make the release the active one.
    """

    data: str | None = None
    items: str | None = None
    columns: ColumnsArgument = None
    embeddings: Path | None = None
    clone_steps: int = ActorSettings().clone_steps
    steps: int = ActorSettings().steps
    padded: bool = False
    encoder: Literal["flat", "lstm"] = "flat"
    seed: int = ActorSettings().seed
    checkpoint: Path | None = None
    tensorboard: Path | None = None
    plot: Path | None = None
    frames: Path | None = None
    publish: bool = True


NO_FLAGS = ActorFlags()


def ddpg(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train an actor and a critic on who rated what when, and make it the active release of ddpg.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("ddpg", flags, settings)


def td3(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train an actor and twin critics on who rated what when, and make it the active release of td3.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("td3", flags, settings)


def reinforce(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train a policy over items by REINFORCE on who rated what when, and make it the active release of reinforce.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("reinforce", flags, settings)


def bcq(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train critics of what the log might have shown on who rated what when, and make them the active release of bcq.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("bcq", flags, settings)


def qlearning(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train values of items by Q-learning on who rated what when, and make them the active release of qlearning.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("qlearning", flags, settings)


def sarsa(*, flags: ActorFlags = NO_FLAGS, settings: SettingsArgument) -> None:
    """Train values of items by SARSA on who rated what when, and make them the active release of sarsa.

    A model that shows the same few items to everybody is named, and not released.
    """
    _train("sarsa", flags, settings)


def _train(name: str, flags: ActorFlags, settings: Settings) -> None:
    try:
        parameters = ActorSettings(
            padded=flags.padded,
            encoder=flags.encoder,
            clone_steps=flags.clone_steps,
            steps=flags.steps,
            seed=flags.seed,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    outputs = Outputs(flags.plot, flags.tensorboard, flags.checkpoint, flags.frames)
    limits = limits_of(settings)
    scale = (settings.rating_min, settings.rating_max)
    log, catalogue = gather_log(*ratings_of(flags.data, flags.items, flags.columns, settings))
    vectors = None if flags.embeddings is None else read_vectors(flags.embeddings)(catalogue)[0]
    with Progress(TextColumn("{task.description}"), console=err, transient=True) as progress:
        result = train_actor_release(
            name, log, catalogue, scale, parameters, vectors, settings.model_dir, progress, outputs, limits
        )
    _report(result, len(log), outputs)
    if flags.publish:
        publish_release(settings, result.release)
        say(f"{result.release.label} is the active release on {settings.topic('models')}")


def _report(result: ActorRelease, ratings: int, outputs: Outputs) -> None:
    release, trained, shown = result.release, result.trained, result.diversity
    say(
        f"{release.label}: {ratings:,} ratings, {trained.frames[0]:,} frames of {trained.model.frame_size}, "
        f"{len(trained.model.item_ids)} items, D = {trained.model.dim}, step {trained.best}, {result.seconds:.1f} s"
    )
    say(f"held-out users' next item: NDCG@10 {trained.ndcg:.4f}, of cloning alone {trained.cloned_ndcg:.4f}")
    say(
        f"its lists of 10: coverage {shown.coverage:.3f}, intra-list distance {shown.intra_list_distance:.3f}, "
        f"entropy {shown.entropy:.2f} bits"
    )
    say(f"{release.uri}  sha256 {release.sha256}")
    for what, path in (("drawn", outputs.plot), ("scalars", outputs.scalars), ("checkpoint", outputs.checkpoint)):
        if path is not None:
            say(f"{what} in {path}")
