"""Load on the bus; replaying a real log is its simplest mode."""
