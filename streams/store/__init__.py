"""The state in Redis: keys, guarded scripts, the worker's writer and the readers' view."""
