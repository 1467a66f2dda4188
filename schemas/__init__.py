"""What is said on the bus: events, items, topics, errors and their codec."""
