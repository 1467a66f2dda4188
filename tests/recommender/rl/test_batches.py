import numpy as np
import torch

from recommender.ranking.log import RatingLog
from recommender.rl.batches import FrameTensors, UserBatches, all_items, few_items
from recommender.rl.frames import make_frames


def frames_of():
    """Users 0 and 1 with five and four events: frames of two, three of the first and two of the other."""
    log = RatingLog(
        np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]),
        np.array([1, 2, 3, 4, 5, 6, 7, 8, 9]),
        np.array([5, 10, 15, 20, 25, 30, 35, 40, 45]) * 1000,
        ("u", "v"),
        10,
    )
    return make_frames(log, 2, (0.5, 5.0))


VECTORS = torch.arange(10.0)[:, None]


def test_a_batch_has_states_actions_and_rewards_of_its_frames():
    batch = FrameTensors(frames_of()).batch(torch.tensor([1]), VECTORS)
    assert batch.state.tolist() == [[2.0, 3.0, -3.0, -2.0]]
    assert batch.action.tolist() == [[4.0]]
    assert batch.row.tolist() == [4]
    assert batch.reward.tolist() == [-1.0]
    assert batch.next_state.tolist() == [[3.0, 4.0, -2.0, -1.0]]


def test_the_next_item_is_that_of_the_users_next_frame_unless_there_is_none():
    batch = FrameTensors(frames_of()).batch(torch.tensor([0, 1, 2, 3, 4]), VECTORS)
    assert batch.done.tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert batch.next_row[batch.done == 0.0].tolist() == [4, 5, 9]
    torch.testing.assert_close(batch.next_state[0], batch.state[1])


def test_a_padded_event_has_a_vector_of_zeros_and_no_gradient():
    log = RatingLog(np.zeros(3, dtype=int), np.array([1, 2, 3]), np.array([10, 15, 50]) * 1000, ("u",), 10)
    frames = FrameTensors(make_frames(log, 2, (0.5, 5.0), least=1))
    vectors = (VECTORS + 1.0).requires_grad_()
    batch = frames.batch(torch.tensor([0]), vectors)
    assert batch.state.tolist() == [[0.0, 2.0, 0.0, -3.0]]
    assert batch.next_state.tolist() == [[2.0, 3.0, -3.0, -2.0]]
    frames.states(torch.tensor([0]), vectors).sum().backward()
    assert np.flatnonzero(vectors.grad.numpy()).tolist() == [1]


def test_items_are_the_same_whether_few_or_all_are_kept():
    rows = torch.tensor([[-1, 3], [3, 9]])
    for items, places in (few_items(rows, VECTORS), all_items(rows, VECTORS)):
        assert items[places].tolist() == [[[0.0], [3.0]], [[3.0], [9.0]]]
    assert len(few_items(rows, VECTORS)[0]) == 3


def test_batches_are_of_whole_users_as_seed_and_step_say():
    frames = frames_of()
    batches = UserBatches(frames, 1, 100, seed=3)
    drawn = [tuple(batches.places(step).tolist()) for step in range(20)]
    assert set(drawn) == {(0, 1, 2), (3, 4)}
    assert drawn == [tuple(UserBatches(frames, 1, 100, seed=3).places(step).tolist()) for step in range(20)]
    assert len(UserBatches(frames, 2, 4, seed=3).places(0)) == 4
