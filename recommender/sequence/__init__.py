"""The model that foretells the next item, and how its training is set."""
