"""How actors are trained, and what a run says; without torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from recommender.rl.model import RERANKED, ActorModel

ENCODERS = ("flat", "lstm")

_RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (
        (
            *("frame_size", "hidden", "clone_steps", "clone_rows", "steps", "batch_users", "batch_rows"),
            *("policy_step", "penalised", "penalised_rows", "replay", "slate", "validate_every", "patience", "threads"),
        ),
        lambda value: value >= 1,
        "at least 1",
    ),
    (
        ("clone_rate", "temperature", "actor_rate", "critic_rate", "gradient_bound", "weight_cap"),
        lambda value: 0.0 < value < float("inf"),
        "positive and finite",
    ),
    (("dropout", "event_dropout", "averaging", "gamma"), lambda value: 0.0 <= value < 1.0, "in [0, 1)"),
    (
        ("weight_decay", "value_weight", "conservative", "anchoring", "noise", "noise_bound", "seed"),
        lambda value: 0.0 <= value < float("inf"),
        "at least 0 and finite",
    ),
    (("tau", "allowed_ratio"), lambda value: 0.0 < value <= 1.0, "in (0, 1]"),
    (("soft_minimum",), lambda value: 0.0 <= value <= 1.0, "in [0, 1]"),
    (("validation",), lambda value: 0.0 < value < 1.0, "in (0, 1)"),
    (("rerank",), lambda value: value == 0 or RERANKED[0] <= value <= RERANKED[1], "0 or in 50..500"),
)
"""Settings, what holds of them, and the same in words."""


@dataclass(frozen=True, slots=True)
class ActorSettings:
    """How an actor is trained: first it clones the log, then it learns from what critics say.

    Attributes:
        frame_size: events of a state, F.
        padded: whether states of fewer events are learned from too, from one event on, the rest padded.
        encoder: what an actor reads a state by: ``flat``, its layers, or ``lstm``, event by event.
        hidden: width of both hidden layers of every network.
        dropout: of the actor's hidden layers, where it learns.
        event_dropout: chance of an item's vector to be left out of a state where the actor learns.
        clone_steps: steps of cloning, in which the item vectors are learned too.
        clone_rows: frames of such a step.
        clone_rate: learning rate of cloning.
        weight_decay: of cloning.
        averaging: what a step of cloning keeps of the average of the weights, in [0, 1).
        temperature: of the softmax over inner products, T.
        steps: of the algorithm itself, at most.
        batch_users: users of a batch, all of whose frames come into question.
        batch_rows: frames drawn from these, at most.
        actor_rate: learning rate of the actor.
        critic_rate: learning rate of the critics.
        gamma: what a step later counts for.
        tau: how far targets move each update.
        policy_step: every how many updates of the critics the actor moves.
        value_weight: of the critic beside cloning in the actor's loss, the TD3+BC term's inverse.
        conservative: weight of the penalty on values of items that are not in the log; 0 for none.
        penalised: items drawn for that penalty.
        penalised_rows: frames of a batch that it is of.
        anchoring: weight of the same penalty over all items; qlearning and sarsa only.
        allowed_ratio: least chance of an item beside the likeliest's, for critics to be asked of it; bcq only.
        soft_minimum: weight of the lower of two critics in a target, the higher having the rest; bcq only.
        replay: transitions of the ring that bcq, qlearning and sarsa draw batches from.
        noise: of target actions, in standard deviations of a coordinate of the item vectors; td3 only.
        noise_bound: in the same.
        gradient_bound: the largest norm of a gradient.
        slate: K of reinforce's correction.
        weight_cap: the largest pi/beta of reinforce.
        rerank: how many of the nearest items the critics rank again, 50..500; 0 for none.
        validation: share of the users, by the seed, that tell when to stop.
        validate_every: steps between two looks at them.
        patience: looks without a better one after which training ends.
        seed: of the split, the weights, and each step's draws.
        threads: torch threads while training.

    Raises:
        ValueError: a value is out of its range.
    """

    frame_size: int = 10
    padded: bool = False
    encoder: Literal["flat", "lstm"] = "flat"
    hidden: int = 256
    dropout: float = 0.3
    event_dropout: float = 0.3
    clone_steps: int = 800
    clone_rows: int = 512
    clone_rate: float = 1e-3
    weight_decay: float = 1e-2
    averaging: float = 0.99
    temperature: float = 0.1
    steps: int = 300
    batch_users: int = 25
    batch_rows: int = 512
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    gamma: float = 0.5
    tau: float = 0.005
    policy_step: int = 2
    value_weight: float = 0.02
    conservative: float = 5.0
    penalised: int = 64
    penalised_rows: int = 128
    anchoring: float = 50.0
    allowed_ratio: float = 0.7
    soft_minimum: float = 0.75
    replay: int = 20_000
    noise: float = 0.5
    noise_bound: float = 3.0
    gradient_bound: float = 10.0
    slate: int = 10
    weight_cap: float = 5.0
    rerank: int = 50
    validation: float = 0.1
    validate_every: int = 100
    patience: int = 2
    seed: int = 7
    threads: int = 2

    def __post_init__(self) -> None:
        for names, is_in_range, said in _RANGES:
            for name in names:
                if not is_in_range(getattr(self, name)):
                    raise ValueError(f"{name} must be {said}, got {getattr(self, name)}")
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {self.encoder!r}")

    @property
    def least(self) -> int:
        """How many events a state has at least."""
        return 1 if self.padded else self.frame_size

    @property
    def margin(self) -> float:
        """How far an allowed item's inner product may lie below the nearest item's, T log(1/ratio)."""
        return -self.temperature * math.log(self.allowed_ratio)


@dataclass(frozen=True, slots=True)
class ActorStep:
    """What a step of training came to.

    Attributes:
        step: from 1, cloning included.
        phase: ``clone``, or the name of the algorithm.
        scalars: losses, values and distances, by name.
        ndcg: NDCG@10 of the held-out users' next items, None where nobody looked.
    """

    step: int
    phase: str
    scalars: Mapping[str, float]
    ndcg: float | None = None


OnStep = Callable[[ActorStep], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedActor:
    """What training gives.

    Attributes:
        model: of the best step of the algorithm.
        trace: every step, in order.
        best: that step.
        cloned_ndcg: NDCG@10 of cloning alone, on the held-out users.
        ndcg: that of the model.
        frames: how many were learned from, and how many held out.
    """

    model: ActorModel
    trace: tuple[ActorStep, ...] = field(repr=False)
    best: int
    cloned_ndcg: float
    ndcg: float
    frames: tuple[int, int]
