"""Diagnostics: why a model loses its instructions while it reasons; each with a control."""

from __future__ import annotations

from adhere.evaluation.diagnostics.run import DIAGNOSTICS, check_names, diagnose
from adhere.evaluation.diagnostics.subject import Subject

__all__ = ["DIAGNOSTICS", "Subject", "check_names", "diagnose"]
