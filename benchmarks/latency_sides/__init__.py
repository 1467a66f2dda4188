"""What the benchmarks of the scorer run: a world to ask about, those who ask and listen, and the scorers."""
