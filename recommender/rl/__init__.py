"""Actor-critic ranking: what is learned from frames of ratings, and how."""
