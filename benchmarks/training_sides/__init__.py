"""What stands beside the training of actors."""
