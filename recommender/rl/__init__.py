"""Actor-critic policies: what is released of them, the state they see, and how items are ranked by distance."""
