"""The sides of the simulation benchmark."""
