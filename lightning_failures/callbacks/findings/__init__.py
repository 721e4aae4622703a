"""Findings: rules over what was logged, and the verdict on a run."""

from lightning_failures.callbacks.findings.announcer import *
from lightning_failures.callbacks.findings.diagnosis import *
from lightning_failures.callbacks.findings.evidence_pictures import *
from lightning_failures.callbacks.findings.named_rules import *
from lightning_failures.callbacks.findings.progress import *
from lightning_failures.callbacks.findings.rule_streaks import *
from lightning_failures.callbacks.findings.rulebook import *
from lightning_failures.callbacks.findings.validation_metric import *
