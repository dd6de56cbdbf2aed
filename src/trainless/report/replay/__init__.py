"""The report of replayed searches."""
