"""The laboratory: data sets, files of ratings and items, and what a state must look like after them."""
