"""The typed recipe: its schema, how it is composed, and how it is checked. No torch.

The kinds of stages that ship are registered here, so that a recipe can be read by whoever imports a part of this.
"""

from adhere.train.config import kinds as kinds
