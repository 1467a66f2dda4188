"""Collaborative factors of items, joined with what is said of them."""
