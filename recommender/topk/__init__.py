"""The reference score, the exact top k, and an index that finds the same top k without scoring every item."""

from recommender.topk.reference import reference_scores, top_k

__all__ = ["reference_scores", "top_k"]
