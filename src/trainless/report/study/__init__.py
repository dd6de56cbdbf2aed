"""The reports of scores beside accuracies, and of the quickstart's scores alone."""
