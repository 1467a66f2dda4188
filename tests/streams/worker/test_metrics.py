from prometheus_client import REGISTRY

from streams.worker import metrics


def read(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_batch_is_counted_by_what_became_of_its_events():
    names = {
        "applied": ("streamrec_ratings_total", {"outcome": "applied"}),
        "repeats": ("streamrec_ratings_total", {"outcome": "repeat"}),
        "letters": ("streamrec_rating_dead_letters_total", {"reason": "not_json"}),
        "unknown_items": ("streamrec_ratings_of_unknown_items_total", {}),
        "conflicts": ("streamrec_commit_conflicts_total", {}),
    }
    before = {key: read(name, **labels) for key, (name, labels) in names.items()}
    metrics.observe_batch(12, 5, 2, {"not_json": 3}, 4, 1, 0.01)
    grown = {key: read(name, **labels) - before[key] for key, (name, labels) in names.items()}
    assert grown == {"applied": 5, "repeats": 2, "letters": 3, "unknown_items": 4, "conflicts": 1}
