"""Where things come from: which raw batches, which code, which feature view, which model."""
