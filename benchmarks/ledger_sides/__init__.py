"""What the ledger benchmark is made of."""
