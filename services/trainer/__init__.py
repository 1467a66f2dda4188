"""Training: items in, a release out. Publishing it is the caller's."""
