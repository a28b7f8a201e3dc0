"""Prompt items: where they come from, the constraints attached to them, and what keeps training honest.

Pure Python: importing anything below this package needs neither torch nor transformers.
"""

# Registers the generators that ship.
from adhere.prompts import everyday, word_problems
from adhere.prompts.item import Message, PromptItem, read_items, write_items

__all__ = ["Message", "PromptItem", "everyday", "read_items", "word_problems", "write_items"]
