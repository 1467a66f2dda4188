"""Filters compiled to masks, kept as long as the catalogue they are of is live."""

from recommender.arrays import Flags
from recommender.catalogue import Catalogue
from recommender.filters import filter_key, mask
from schemas.events import Filters

MASKS_KEPT = 256
NO_FILTERS = Filters()


class MaskCache:
    """The masks of the filters asked for lately, of one catalogue."""

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._masks: dict[str, Flags] = {}

    def mask_of(self, filters: Filters, catalogue: Catalogue) -> Flags | None:
        """Return which items meet the filters, shape [N]; None when they ask nothing."""
        if filters == NO_FILTERS:
            return None
        if catalogue is not self._catalogue:
            self._catalogue, self._masks = catalogue, {}
        key = filter_key(filters)
        found = self._masks.pop(key, None)
        if found is None:
            found = mask(filters, catalogue)
            if len(self._masks) >= MASKS_KEPT:
                del self._masks[next(iter(self._masks))]
        self._masks[key] = found
        return found
