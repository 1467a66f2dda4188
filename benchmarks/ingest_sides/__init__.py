"""The sides of the ingest benchmark, each a process of its own, and the stage they share."""
