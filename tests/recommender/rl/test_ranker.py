import numpy as np
import torch

from recommender.ranking.baselines import MostPopular
from recommender.ranking.log import RatingLog, at_the_end, walk
from recommender.ranking.next_item import first_ten, predict_next
from recommender.rl.frames import make_frames
from recommender.rl.held_out import HeldOut
from recommender.rl.model import ActorModel
from recommender.rl.networks import Actor, Critic, RecurrentActor
from recommender.rl.ranker import ActorRanker
from schemas.events import Item

IDS = tuple(f"i{row}" for row in range(60))
ITEMS = [Item(item_id=item_id) for item_id in IDS]
VECTORS = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32).astype(np.float64)
SCALE = (0.5, 5.0)


def random_log(seed=0, users=12, each=15):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(60)[:each] for _ in range(users)])
    who = np.repeat(np.arange(users), each)
    order = rng.permutation(len(rows))
    ratings = rng.integers(1, 11, len(rows)) * 5_000
    return RatingLog(who[order], rows[order], ratings, tuple(map(str, range(users))), 60)


def networks():
    torch.manual_seed(0)
    return Actor(3, 4, 16, spread=1.0).eval(), [Critic(3, 4, 16, spread=1.0).eval() for _ in range(2)]


def model_of(actor, critics, item_ids=IDS, rerank=0, margin=None, least=None):
    kept = [IDS.index(item_id) for item_id in item_ids]
    layers = tuple(critic.layers() for critic in critics)
    return ActorModel("td3", item_ids, VECTORS[kept], 3, SCALE, actor.layers(), layers, "inner", rerank, margin, least)


def test_it_ranks_as_training_judged():
    log, (actor, critics) = random_log(), networks()
    known, vectors = torch.ones(60, dtype=torch.bool), torch.from_numpy(VECTORS.astype(np.float32))
    for rerank, margin, least in ((0, None, 3), (50, None, 1), (50, 1.0, 3), (50, 0.0, 3)):
        frames = make_frames(log, 3, SCALE, least)
        model = model_of(actor, critics, rerank=rerank, margin=margin, least=least)
        ranker = ActorRanker(model.align(ITEMS), MostPopular(), rerank)
        found = predict_next(log, 1, ranker)
        places = np.isin(found.events, frames.events)
        ranks = found.ranks[places]
        expected = HeldOut(frames, log, 0).ndcg(actor, critics, vectors, known, rerank, margin)
        np.testing.assert_allclose(np.where(ranks < 10, 1 / np.log2(ranks + 2.0), 0.0).mean(), expected, atol=1e-6)


def test_it_ranks_by_a_recurrent_actor_as_that_judges_in_training():
    log = random_log()
    torch.manual_seed(0)
    actor = RecurrentActor(3, 4, 16, spread=1.0).eval()
    frames = make_frames(log, 3, SCALE, 1)
    model = ActorModel("td3", IDS, VECTORS, 3, SCALE, actor.layers(), (), "inner", least=1, encoder=actor.encoder())
    found = predict_next(log, 1, ActorRanker(model.align(ITEMS), MostPopular(), 0))
    ranks = found.ranks[np.isin(found.events, frames.events)]
    vectors, known = torch.from_numpy(VECTORS.astype(np.float32)), torch.ones(60, dtype=torch.bool)
    expected = HeldOut(frames, log, 0).ndcg(actor, [], vectors, known, 0)
    np.testing.assert_allclose(np.where(ranks < 10, 1 / np.log2(ranks + 2.0), 0.0).mean(), expected, atol=1e-6)


def test_a_user_with_too_few_events_is_left_to_the_fallback():
    log, (actor, critics) = random_log(), networks()
    ranker = ActorRanker(model_of(actor, critics).align(ITEMS), MostPopular(), 0)
    moments, _ = next(iter(walk(log, 1)))
    scores = ranker.scores(moments)
    is_short = np.array([past.t < 3 for past in moments.pasts])
    np.testing.assert_array_equal(scores[is_short], moments.counts[is_short])
    assert (scores[~is_short] != moments.counts[~is_short]).any(axis=1).all()


def test_an_item_that_the_model_does_not_know_is_ranked_last():
    log, (actor, critics) = random_log(), networks()
    ranker = ActorRanker(model_of(actor, critics, IDS[:40]).align(ITEMS), MostPopular(), 0)
    moments = at_the_end(log, np.arange(12))
    scores = ranker.scores(moments)
    assert scores[:, 40:].max() < scores[:, :40].min()


def test_critics_rank_within_the_margin_or_the_ten_nearest():
    log, (actor, critics) = random_log(), networks()
    moments = at_the_end(log, np.arange(12))
    plain = ActorRanker(model_of(actor, critics).align(ITEMS), MostPopular(), 0).scores(moments)
    counts = []
    for margin in (0.0, 1.0):
        model = model_of(actor, critics, rerank=50, margin=margin)
        again = ActorRanker(model.align(ITEMS), MostPopular(), 50).scores(moments)
        for before, after, past in zip(plain, again, moments.pasts, strict=True):
            unseen = np.setdiff1d(np.arange(60), past.rows)
            within = np.count_nonzero(before[unseen] >= before[unseen].max() - margin)
            counts.append(max(within, 10))
            np.testing.assert_array_equal(
                np.sort(np.flatnonzero(before != after)), np.sort(unseen[np.argsort(-before[unseen])[: counts[-1]]])
            )
    assert counts[:12] == [10] * 12
    assert max(counts) > 10


def test_critics_rank_unseen_items_again_and_no_others():
    log, (actor, critics) = random_log(), networks()
    moments = at_the_end(log, np.arange(12))
    aligned = model_of(actor, critics).align(ITEMS)
    plain, again = (ActorRanker(aligned, MostPopular(), n).scores(moments) for n in (0, 12))
    for before, after, past in zip(plain, again, moments.pasts, strict=True):
        unseen = np.setdiff1d(np.arange(60), past.rows)
        nearest = unseen[np.argsort(-before[unseen])[:12]]
        assert set(first_ten(after, past.rows)) <= set(nearest.tolist())
        others = np.setdiff1d(np.arange(60), nearest)
        np.testing.assert_array_equal(before[others], after[others])
