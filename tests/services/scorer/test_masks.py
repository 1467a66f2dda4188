from recommender.catalogue import CatalogueEntry, build_catalogue
from schemas.events import Filters, GenreFilter, Item, YearFilter
from services.scorer.masks import MASKS_KEPT, MaskCache


def catalogue_of(*genres):
    return build_catalogue([CatalogueEntry(Item(item_id=str(n), genres=(g,)), n) for n, g in enumerate(genres)])


DRAMA = Filters(genres=GenreFilter(any=("Drama",)))


def test_filters_that_ask_nothing_need_no_mask():
    assert MaskCache().mask_of(Filters(), catalogue_of("Drama")) is None


def test_a_mask_is_made_once_for_a_catalogue_and_anew_for_the_next():
    cache, catalogue = MaskCache(), catalogue_of("Drama", "Comedy")
    first = cache.mask_of(DRAMA, catalogue)
    assert first.tolist() == [True, False]
    assert cache.mask_of(Filters(genres=GenreFilter(any=("Drama",))), catalogue) is first
    assert cache.mask_of(DRAMA, catalogue_of("Comedy", "Drama")).tolist() == [False, True]


def test_the_filters_asked_for_longest_ago_are_forgotten_first():
    cache, catalogue = MaskCache(), catalogue_of("Drama")
    kept = cache.mask_of(DRAMA, catalogue)
    oldest = cache.mask_of(Filters(year=YearFilter(min=0)), catalogue)
    for year in range(1, MASKS_KEPT - 1):
        cache.mask_of(Filters(year=YearFilter(min=year)), catalogue)
    assert cache.mask_of(DRAMA, catalogue) is kept
    cache.mask_of(Filters(year=YearFilter(max=1)), catalogue)
    assert cache.mask_of(DRAMA, catalogue) is kept
    assert cache.mask_of(Filters(year=YearFilter(min=0)), catalogue) is not oldest
