"""Maths answers: find the one a response commits to, and decide whether it equals the gold answer."""

from adhere.rewards.math.extract import extract_answer
from adhere.rewards.math.gold import check_gold, normalise_gold
from adhere.rewards.math.verify import verify_answer, verify_batch

__all__ = ["check_gold", "extract_answer", "normalise_gold", "verify_answer", "verify_batch"]
