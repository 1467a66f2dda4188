"""The training of an actor: cloning, then the algorithm, then the best step; and where to go on after a stop.

What a step draws is a function of the seed and the step's number, so a training that goes on from a checkpoint takes
the same steps, to the last bit, as one that was never stopped.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from recommender.arrays import Floats, Integers
from recommender.ranking.log import RatingLog
from recommender.rl.batches import Batch, FrameTensors, UserBatches
from recommender.rl.bcq import Bcq
from recommender.rl.cloning import Cloner
from recommender.rl.ddpg import Ddpg
from recommender.rl.frames import Frames, make_frames, split_users
from recommender.rl.held_out import HeldOut
from recommender.rl.model import ActorModel
from recommender.rl.networks import Actor, Critic
from recommender.rl.qlearning import QLearning
from recommender.rl.reinforce import Reinforce
from recommender.rl.replay import ReplayBuffer
from recommender.rl.sarsa import Sarsa
from recommender.rl.td3 import Td3
from recommender.rl.training import ActorSettings, ActorStep, OnStep, TrainedActor
from schemas.errors import ModelError

Checkpoint = dict[str, Any]
"""What a training goes on from: tensors, numbers and words only."""
OnCheckpoint = Callable[[Checkpoint], None]
CLONE = "clone"


class Learner(Protocol):
    """An algorithm: what it learns, and how it learns from a batch."""

    critics: list[Critic]

    @property
    def actor(self) -> Actor:
        """What says where the items are, in evaluation mode."""
        ...

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return what to log."""
        ...

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        ...


LEARNERS: Mapping[str, Callable[[Actor, Tensor, ActorSettings], Learner]] = {
    "ddpg": Ddpg,
    "td3": Td3,
    "reinforce": Reinforce,
    "bcq": Bcq,
    "qlearning": QLearning,
    "sarsa": Sarsa,
}
"""Name of the policy to what learns it, given a cloned actor and item vectors."""
REPLAYED = frozenset({"bcq", "qlearning", "sarsa"})
"""The policies that learn values of items alone, from batches out of a replay buffer."""
CONSTRAINED = frozenset({"bcq"})
"""The policies whose critics are asked of no item that the log would hardly have shown."""


def train_actor(
    name: str,
    log: RatingLog,
    item_ids: Sequence[str],
    vectors: Floats,
    scale: tuple[float, float],
    settings: ActorSettings | None = None,
    on_step: OnStep | None = None,
    resume: Checkpoint | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    frames: Frames | None = None,
) -> TrainedActor:
    """Return a policy's model, learned from a log.

    Args:
        name: of the policy, of :data:`LEARNERS`.
        log: the events, in time order.
        item_ids: of the log's rows.
        vectors: where the item vectors begin, shape [N, D].
        scale: least and highest rating there can be.
        settings: defaults when not given.
        on_step: told of every step.
        resume: what an earlier training of the same log and settings said to ``on_checkpoint``.
        on_checkpoint: told where to go on, at every look at the held-out users.
        frames: what :func:`~recommender.rl.frames.make_frames` makes of the log; None to have them made.

    Raises:
        ValueError: no user, or none to hold out, has enough events, or the checkpoint is of something else.
        ModelError: a loss is no longer finite.
    """
    settings = settings or ActorSettings()
    with _alone(settings.threads):
        if frames is None:
            frames = make_frames(log, settings.frame_size, scale, settings.least)
        run = _Run(name, log, vectors, frames, settings)
        if resume is not None:
            run.load(resume)
        while not run.has_ended:
            step = run.take_step()
            if on_step is not None:
                on_step(step)
            if step.ndcg is not None and on_checkpoint is not None:
                on_checkpoint(run.state())
        return run.result(item_ids, scale)


class _Run:
    """A training between two steps."""

    def __init__(self, name: str, log: RatingLog, vectors: Floats, frames: Frames, settings: ActorSettings) -> None:
        train, held_out = split_users(frames, settings.validation, settings.seed)
        if not len(train) or not len(held_out):
            raise ValueError(
                f"training needs users with at least {settings.least + 1} events, and as many again to hold out, "
                f"got {len(np.unique(train.users))} and {len(np.unique(held_out.users))}"
            )
        self.name, self.settings = name, settings
        self.frames = FrameTensors(train)
        self.ring = ReplayBuffer(settings.replay) if name in REPLAYED else None
        rows = settings.batch_rows if self.ring is None else len(train)
        self.batches = UserBatches(train, settings.batch_users, rows, settings.seed)
        self.held_out = HeldOut(held_out, log, settings.seed)
        self.known = torch.from_numpy(np.bincount(log.rows, minlength=log.size) > 0)
        torch.manual_seed(settings.seed)
        self.cloner = Cloner(torch.from_numpy(np.array(vectors, dtype=np.float32)), settings)
        self.learner: Learner | None = None
        self.step, self.trace = 0, list[ActorStep]()
        self.best: dict[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        if self.step >= self.settings.clone_steps + self.settings.steps:
            return True
        looks = [each.ndcg for each in self.trace if each.phase == self.name and each.ndcg is not None]
        return len(looks) - 1 - int(np.argmax(looks)) >= self.settings.patience if looks else False

    def take_step(self) -> ActorStep:
        s = self.settings
        self.step += 1
        torch.manual_seed(s.seed * 1_000_003 + self.step)
        is_cloning = self.step <= s.clone_steps
        if is_cloning:
            scalars = self.cloner.update(self.frames, self.step)
        else:
            learner = self._learner()
            places = torch.from_numpy(self._places())
            scalars = learner.update(self.frames.batch(places, self._vectors()), self.step)
        if not np.isfinite(list(scalars.values())).all():
            raise ModelError(f"training diverged: after step {self.step} the figures are {scalars}")
        is_look = self.step % s.validate_every == 0 or self.step in {s.clone_steps, s.clone_steps + s.steps}
        done = ActorStep(self.step, CLONE if is_cloning else self.name, scalars, self._look() if is_look else None)
        self.trace.append(done)
        if done.ndcg is not None and not is_cloning and done.ndcg > self.best.get("ndcg", -1.0):
            self.best = {"ndcg": done.ndcg, "step": self.step, **self._weights()}
        return done

    def _places(self) -> Integers:
        """Return the frames of a batch: some users', or, out of the ring that these join, those of many."""
        places = self.batches.places(self.step)
        if self.ring is None:
            return places
        self.ring.add(places)
        return self.ring.sample(self.settings.batch_rows, np.random.default_rng([self.settings.seed, self.step, 1]))

    def _learner(self) -> Learner:
        if self.learner is None:
            torch.manual_seed(self.settings.seed)
            self.learner = LEARNERS[self.name](self.cloner.average.actor, self._vectors(), self.settings)
        return self.learner

    def _vectors(self) -> Tensor:
        return self.cloner.average.vectors.detach()

    def _look(self) -> float:
        actor, critics = (
            (self.cloner.average.actor, []) if self.learner is None else (self.learner.actor, self.learner.critics)
        )
        rerank, margin = self.settings.rerank, self._margin
        return self.held_out.ndcg(actor, critics, self._vectors(), self.known, rerank, margin)

    @property
    def _margin(self) -> float | None:
        return self.settings.margin if self.name in CONSTRAINED else None

    def _weights(self) -> dict[str, Any]:
        learner = self._learner()
        return {
            "actor": copy.deepcopy(learner.actor.state_dict()),
            "critics": [copy.deepcopy(critic.state_dict()) for critic in learner.critics],
        }

    def state(self) -> Checkpoint:
        """Return where the training stands."""
        parts: dict[str, Any] = {f"cloner.{name}": each.state_dict() for name, each in self.cloner.parts.items()}
        if self.learner is not None:
            parts |= {f"learner.{name}": each.state_dict() for name, each in self.learner.parts.items()}
        if self.ring is not None:
            parts["ring"] = self.ring.state_dict()
        trace = [(each.step, each.phase, dict(each.scalars), each.ndcg) for each in self.trace]
        of = self._of(self.name if self.learner is not None else CLONE)
        return copy.deepcopy({"of": of, "step": self.step, "trace": trace, "best": self.best, "parts": parts})

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from where :meth:`state` said; while it cloned, it may have been the training of another policy.

        Raises:
            ValueError: it is of another policy, log or settings.
        """
        of = self._of(self.name)
        if checkpoint.get("of") not in (of, self._of(CLONE)):
            raise ValueError(f"the checkpoint is of another training: it says {checkpoint.get('of')}, this is {of}")
        parts = checkpoint["parts"]
        for name, each in self.cloner.parts.items():
            each.load_state_dict(parts[f"cloner.{name}"])
        if any(name.startswith("learner.") for name in parts):
            for name, own in self._learner().parts.items():
                own.load_state_dict(parts[f"learner.{name}"])
        if self.ring is not None and checkpoint["of"] == of:
            self.ring.load_state_dict(parts["ring"])
        self.step, self.best = checkpoint["step"], checkpoint["best"]
        self.trace = [ActorStep(*each) for each in checkpoint["trace"]]

    def _of(self, name: str) -> dict[str, Any]:
        return {"name": name, "settings": repr(self.settings), "frames": len(self.frames)}

    def result(self, item_ids: Sequence[str], scale: tuple[float, float]) -> TrainedActor:
        learner, s = self._learner(), self.settings
        learner.actor.load_state_dict(self.best["actor"])
        for critic, weights in zip(learner.critics, self.best["critics"], strict=True):
            critic.load_state_dict(weights)
        known = np.flatnonzero(self.known.numpy())
        model = ActorModel(
            type=self.name,
            item_ids=tuple(item_ids[row] for row in known.tolist()),
            vectors=self._vectors().numpy()[known].astype(np.float64),
            frame_size=s.frame_size,
            least=s.least if s.padded else None,
            scale=scale,
            actor=learner.actor.layers(),
            encoder=learner.actor.encoder(),
            critics=tuple(critic.layers() for critic in learner.critics),
            distance="inner",
            rerank=s.rerank if learner.critics else 0,
            margin=self._margin if s.rerank else None,
        )
        cloned = next(each.ndcg for each in self.trace if each.step == s.clone_steps)
        assert cloned is not None
        frames = (len(self.frames), len(self.held_out))
        return TrainedActor(model, tuple(self.trace), self.best["step"], cloned, self.best["ndcg"], frames)


@contextmanager
def _alone(threads: int) -> Iterator[None]:
    """Set the number of threads, and leave both it and the global random state as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
