"""Rewards for models that reason and follow instructions: verdicts, checks, components, composites.

Pure Python: importing anything below this package needs neither torch, transformers nor TRL.
"""
