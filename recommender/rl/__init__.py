"""Actor-critic policies: what is released of them, how they see a user, rank by distance, and learn."""
