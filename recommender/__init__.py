"""What is computed: pure functions on values, without input, output, clocks or global randomness."""
