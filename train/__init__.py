"""The pipeline: compose a recipe, plan its stages, launch them, and run each in a worker."""
