"""Checklists written by a model: RLCF's, direct or from candidates (arXiv 2507.18624), and RaR's (arXiv 2507.17746)."""

from adhere.rewards.checklist.generation.config import GenerationConfig, Method
from adhere.rewards.checklist.generation.review import Drop
from adhere.rewards.checklist.generation.writer import Writer, WritingTask, Written, connect

__all__ = ["Drop", "GenerationConfig", "Method", "Writer", "WritingTask", "Written", "connect"]
