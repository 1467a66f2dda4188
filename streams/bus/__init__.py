"""The bus: clients, security, topics, dead letters, and readers of compacted topics."""
