"""Train language models that reason and still do what they were told.

The rooms of the package stand at the top of the repository and are linked here; a wheel holds them as real folders.
From the bottom up: ``rewards``, ``prompts``, ``records``, ``evaluation``, ``train``;
``recipes`` and ``slurm`` are data.
"""
