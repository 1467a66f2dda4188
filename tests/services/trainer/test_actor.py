import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from recommender.diversity import DiversityLimits, measure_diversity
from recommender.embeddings.layers import Layer
from recommender.policies.models import read_policy_model
from recommender.ranking.log import RatingLog
from recommender.rl.model import ACTORS, ActorModel
from recommender.rl.training import ActorSettings
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item
from services.trainer.actor import Outputs, lists_of, train_actor_release
from streams.models.releases import load_policy_release

SETTINGS = ActorSettings(
    frame_size=3,
    hidden=16,
    clone_steps=4,
    clone_rows=32,
    steps=4,
    batch_users=5,
    batch_rows=32,
    penalised=8,
    validate_every=2,
    threads=1,
)
ITEMS = [Item(item_id=f"i{row}", genres=("a", "b")[: 1 + row % 2], year=1980 + row % 7) for row in range(60)]
SCALE = (0.5, 5.0)
VECTORS = np.random.default_rng(3).normal(size=(60, 8))


def random_log(seed=0, users=30, each=20):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(60)[:each] for _ in range(users)])
    order = rng.permutation(users * each)
    who = np.repeat(np.arange(users), each)
    return RatingLog(who[order], rows[order], np.full(users * each, 40_000), tuple(map(str, range(users))), 60)


def train(folder, name="td3", log=None, **passed):
    given = {"settings": SETTINGS, "vectors": VECTORS, "model_dir": str(folder / "models"), **passed}
    return train_actor_release(name, random_log() if log is None else log, ITEMS, SCALE, **given)


@pytest.mark.parametrize("name", ACTORS)
def test_the_release_is_of_the_policy_and_loads(tmp_path, name):
    result = train(tmp_path, name)
    assert (result.release.name, result.release.kind) == (name, "policy")
    model = load_policy_release(result.release, read_policy_model)
    assert (model.vectors == result.trained.model.vectors).all()
    assert {"ndcg", "cloned_ndcg", "step", "coverage", "entropy", "seconds"} <= set(result.release.metrics)


def test_item_vectors_begin_as_factors_of_the_ratings(tmp_path):
    assert train(tmp_path, vectors=None).trained.model.dim == 128


def test_a_collapsed_model_is_named_and_not_released(tmp_path):
    with pytest.raises(ModelError, match="the model of 'td3' collapsed and is not released: entropy"):
        train(tmp_path, limits=DiversityLimits(entropy=9.0))
    assert not any(tmp_path.iterdir())


def test_an_actor_that_says_the_same_to_everybody_is_below_the_limits():
    model = ActorModel(
        type="ddpg",
        item_ids=tuple(item.item_id for item in ITEMS),
        vectors=VECTORS,
        frame_size=3,
        scale=SCALE,
        actor=(Layer(np.zeros((8, 27)), np.ones(8)),),
        distance="inner",
    )
    found = measure_diversity(lists_of(model, random_log(each=3), ITEMS), np.eye(60))
    assert "entropy" in DiversityLimits().fault_of(found)
    towards_the_newest = Layer(np.eye(27)[16:24], np.zeros(8))
    found = measure_diversity(
        lists_of(replace(model, actor=(towards_the_newest,)), random_log(each=3), ITEMS), np.eye(60)
    )
    assert DiversityLimits().fault_of(found) is None


def test_lists_are_of_items_the_users_have_not_rated(tmp_path):
    log = random_log()
    lists = lists_of(train(tmp_path).trained.model, log, ITEMS)
    newest_first = list(dict.fromkeys(log.users[::-1].tolist()))
    assert len(lists) == 30
    for user, shown in zip(newest_first, lists.tolist(), strict=True):
        assert not set(shown) & set(log.rows[log.users == user].tolist())


def test_a_training_goes_on_from_its_checkpoint_to_the_same_bytes(tmp_path):
    whole = train(tmp_path)
    file = tmp_path / "deep" / "td3.checkpoint"

    class Stop(Progress):
        def update(self, task_id, **changed):
            if changed["completed"] == 7:
                raise KeyboardInterrupt
            super().update(task_id, **changed)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, outputs=Outputs(checkpoint=file), progress=Stop(console=Console(file=io.StringIO())))
    resumed = train(tmp_path, outputs=Outputs(checkpoint=file))
    assert resumed.release.sha256 == whole.release.sha256
    assert resumed.trained.trace == whole.trained.trace


def test_frames_that_are_kept_are_learned_from(tmp_path):
    folder = tmp_path / "frames"
    first, again = (train(tmp_path, outputs=Outputs(frames=folder)) for _ in range(2))
    assert first.release.sha256 == again.release.sha256 == train(tmp_path).release.sha256
    (path,) = folder.iterdir()
    with np.load(path) as kept:
        np.savez(path, **{**kept, "rewards": np.zeros_like(kept["rewards"])})
    assert train(tmp_path, outputs=Outputs(frames=folder)).release.sha256 != first.release.sha256


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigurationError, match=r"checkpoint .*x cannot be read"):
        train(tmp_path, outputs=Outputs(checkpoint=file))


def test_a_checkpoint_of_another_policy_is_refused(tmp_path):
    file = tmp_path / "x"
    train(tmp_path, "ddpg", outputs=Outputs(checkpoint=file))
    with pytest.raises(ConfigurationError, match="checkpoint is of another training"):
        train(tmp_path, "td3", outputs=Outputs(checkpoint=file))


def test_scalars_are_written_for_tensorboard(tmp_path):
    train(tmp_path, outputs=Outputs(scalars=tmp_path / "board"))
    (events,) = (tmp_path / "board").iterdir()
    written = events.read_bytes()
    for tag in (b"clone/loss/clone", b"td3/loss/value", b"td3/value/q", b"td3/action/nearest", b"held_out/ndcg"):
        assert tag in written


def test_the_trace_is_drawn(tmp_path):
    for name in ("td3", "reinforce", "bcq", "sarsa"):
        path = tmp_path / "a" / f"{name}.png"
        train(tmp_path, name, outputs=Outputs(plot=path))
        assert path.read_bytes().startswith(b"\x89PNG")


def test_progress_shows_phase_losses_and_ranking(tmp_path):
    shown = io.StringIO()
    with Progress(console=Console(file=shown, width=200)) as progress:
        train(tmp_path, progress=progress)
    assert "td3: td3 8/8  loss/clone" in shown.getvalue()
    assert "held-out NDCG@10 0." in shown.getvalue()


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="one of ddpg, td3, reinforce, bcq, qlearning, sarsa, got 'a2c'"):
        train(tmp_path, "a2c")


def test_too_few_ratings_are_refused(tmp_path):
    with pytest.raises(DataError, match="users with at least 4 events"):
        train(tmp_path, log=random_log().before(3))
    with pytest.raises(DataError, match="needs ratings, got none"):
        train(tmp_path, log=random_log().before(0))


@pytest.mark.parametrize(
    ("module", "extra", "outputs"),
    [
        ("recommender.rl.loop", "trainer", Outputs()),
        ("tensorboardX", "tensorboard", Outputs(scalars="x")),
    ],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, extra, outputs):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"install streamrec\[{extra}\]"):
        train(tmp_path, outputs=outputs)
