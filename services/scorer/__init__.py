"""The scorer: answers request events from the state in Redis, the live catalogue and the item statistics."""
