"""The typed schema of a recipe and its composition. Nothing here imports torch."""
