"""The sides of the ranking benchmark."""
