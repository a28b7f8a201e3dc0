"""Audit a composite reward before training on it: probes, conflicts between components, critical weights."""

from adhere.evaluation.audit.audit import Audit, audit_failures, audit_rewards, audit_scorer, response_form
from adhere.evaluation.audit.cases import Case, Cases, Form, build_cases
from adhere.evaluation.audit.probes import PROBES, Probe, probe
from adhere.evaluation.audit.scoring import Scored, score_cases
from adhere.evaluation.audit.steps import weight_settings

__all__ = [
    "PROBES",
    "Audit",
    "Case",
    "Cases",
    "Form",
    "Probe",
    "Scored",
    "audit_failures",
    "audit_rewards",
    "audit_scorer",
    "build_cases",
    "probe",
    "response_form",
    "score_cases",
    "weight_settings",
]
