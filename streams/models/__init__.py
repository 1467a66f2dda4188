"""Releases of models: written once, fetched by URL, checked by their sum."""
