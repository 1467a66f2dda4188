"""Item embeddings: features, what learns a code of them, and the model that worker and scorer load."""
