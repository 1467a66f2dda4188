from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.hashing import hash_id
from schemas.events import Item
from services.scorer.statistics import AlignedStatistics

NAMES = "abcdef"


class Followed:
    """Counts and sums by item hash, as a follower keeps them."""

    def __init__(self):
        self.counts, self.sums, self.changed = {}, {}, set()

    def rate(self, name, rating):
        item = hash_id(name)
        self.counts[item] = self.counts.get(item, 0) + 1
        self.sums[item] = self.sums.get(item, 0) + rating
        self.changed.add(item)

    def reload(self, counts):
        self.changed |= set(self.counts) | set(counts)
        self.counts = dict(counts)
        self.sums = {item: 3 * count for item, count in counts.items()}

    def take_changed(self):
        taken, self.changed = self.changed, set()
        return taken


def catalogue_of(names):
    return build_catalogue([CatalogueEntry(Item(item_id=name), row) for row, name in enumerate(names)])


def test_changes_reach_the_rows_and_totals_count_unknown_items_too():
    followed = Followed()
    aligned = AlignedStatistics(followed)
    catalogue = catalogue_of("ab")
    assert aligned.view(catalogue).counts.tolist() == [0, 0]
    followed.rate("b", 40000)
    followed.rate("b", 30000)
    followed.rate("z", 10000)
    view = aligned.view(catalogue)
    assert (view.counts.tolist(), view.sums.tolist()) == ([0, 2], [0, 70000])
    assert (view.total_count, view.total_sum) == (3, 80000)


def test_the_view_is_the_same_object_while_nothing_changes():
    followed = Followed()
    aligned, catalogue = AlignedStatistics(followed), catalogue_of("ab")
    followed.rate("a", 10000)
    assert aligned.view(catalogue) is aligned.view(catalogue)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("rate"), st.sampled_from(NAMES), st.integers(-50, 50)),
        st.tuples(st.just("catalogue"), st.sets(st.sampled_from(NAMES)), st.none()),
        st.tuples(st.just("reload"), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9)), st.none()),
        st.tuples(st.just("view"), st.none(), st.none()),
    ),
    max_size=40,
)


@given(steps)
def test_the_view_is_what_the_followed_counts_say_after_any_steps(plan):
    followed, catalogue = Followed(), catalogue_of("abc")
    aligned = AlignedStatistics(followed)
    for kind, said, rating in [*plan, ("view", None, None)]:
        if kind == "rate":
            followed.rate(said, rating)
        elif kind == "catalogue":
            catalogue = catalogue_of(sorted(said))
        elif kind == "reload":
            followed.reload({hash_id(name): count for name, count in said.items()})
        else:
            view = aligned.view(catalogue)
            expected = SimpleNamespace(
                counts=[followed.counts.get(hash_id(name), 0) for name in catalogue.item_ids],
                sums=[followed.sums.get(hash_id(name), 0) for name in catalogue.item_ids],
            )
            assert view.counts.tolist() == expected.counts
            assert view.sums.tolist() == expected.sums
            assert view.total_count == sum(followed.counts.values())
            assert view.total_sum == sum(followed.sums.values())
