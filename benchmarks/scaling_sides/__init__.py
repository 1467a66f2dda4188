"""What the scaling benchmark is made of."""
