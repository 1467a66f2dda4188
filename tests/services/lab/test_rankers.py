from dataclasses import replace

import numpy as np

from recommender.factors.training import FactorSettings
from recommender.rl.training import ActorSettings
from recommender.sequence.training import SequenceSettings
from services.lab.datasets import rating_events
from services.lab.next_item import gather_log
from services.lab.rankers import ActorTrainer, Trainings
from services.lab.synthetic import Sizes, generate

SHORT = ActorSettings(frame_size=3, hidden=8, clone_steps=6, steps=4, validate_every=2, threads=1)


def test_cloning_is_done_once_for_all_actors_and_each_is_what_it_is_alone():
    items, ratings = generate(0, Sizes(users=30, items=40, ratings=900))
    log, known = gather_log(list(rating_events(ratings)), items)
    told = []
    trainings = Trainings(
        FactorSettings(dim=8, parts=2, rounds=2), SequenceSettings(), actor=SHORT, on_step=told.append
    )
    trainer = ActorTrainer(log, known, trainings)
    for name in ("ddpg", "td3", "reinforce"):
        tensors = trainer.train(name).to_tensors()[0]
        assert len([step for step in told if step.phase == "clone"]) == 6
        alone = ActorTrainer(log, known, replace(trainings, on_step=None)).train(name).to_tensors()[0]
        assert all(np.array_equal(tensors[key], alone[key]) for key in alone)
