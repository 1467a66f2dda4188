"""How well a policy foretells what users rate next: the protocol, its measures and its baselines."""
