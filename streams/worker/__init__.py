"""The Faust app that folds rating events into the state."""
