"""What runs: a folder a process, and the rooms that several of them need."""
