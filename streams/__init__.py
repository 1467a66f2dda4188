"""What flows and is remembered: the bus, the store, the models, the worker."""
