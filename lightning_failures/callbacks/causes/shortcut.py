"""A network that leans on a shortcut: something simple that goes with the label."""

import math
from collections.abc import Mapping

from lightning_failures.callbacks.causes.case import Case, CauseTest, Tested, experiment_of, figure, gained, mends
from lightning_failures.callbacks.causes.experiments import PROVEN_SHARE
from lightning_failures.callbacks.causes.kinds import LEANS
from lightning_failures.callbacks.causes.training_content import TRAINING_CONTENTS
from lightning_failures.records.finding import Evidence
from lightning_failures.records.kind import FACTOR_FAILURE, GENERALISATION_GAP, ONE_DIMENSIONAL_PREDICTIONS

__all__ = ["SHORTCUT"]

#: Share of predictions that follow a cue from which it is plain enough to explain another finding.
FOLLOWS = 0.6

#: A coarse pattern is what most objects are told by first, so that it explains no other finding.
NO_REASON = ("worst", "low_frequencies")


def _test(case: Case) -> Tested | None:
    if case.finding.kind in LEANS:
        return _leaning(case)
    made = experiment_of(case, "training_content") if case.finding.kind == GENERALISATION_GAP else {}
    if mends(made) and figure(made, "share") > PROVEN_SHARE:
        return _of_training_alone(TRAINING_CONTENTS[int(case.value("causes/training_content"))].words, made)
    cues = case.named("simplicity/reliance/*")
    cues = {name: share for name, share in cues.items() if name not in NO_REASON}
    if not cues:
        return None
    cue = max(cues, key=lambda name: cues[name])
    if cues[cue] < FOLLOWS:
        return None  # simple cues alone were tested, and a shortcut may be another
    return Tested(
        True,
        f"The network leans on {cue}: of images that are given that of another image, {cues[cue]:.0%} are predicted as "
        "the other.",
        f"Take {cue} out of the inputs, or add images in which it does not go with the label, and train again.",
        {"follows": cues[cue]},
    )


def _of_training_alone(content: str, made: Mapping[str, Evidence]) -> Tested:
    """Training images hold something that tells their class, and validation images lack it."""
    return Tested(
        True,
        f"Training images hold something that tells their class, and validation images lack it. Validation images were "
        f"given the {content} of another image of their own class: where that is a training image in place of a "
        f"validation image, the accuracy {gained(made)}.",
        f"Look at the {content} of training images of several classes: a watermark, a marker, a frame, another device? "
        "Take it out of them, and train again.",
        made,
    )


def _leaning(case: Case) -> Tested:
    """The finding itself is that an exchange of one thing turns the predictions."""
    evidence = case.finding.evidence
    what = case.finding.subject or "the first principal direction of the data"
    told_by = ("share", "class_reliance", "reliance", "own")
    share = next((evidence[key] for key in told_by if key in evidence), math.nan)
    if case.finding.kind == ONE_DIMENSIONAL_PREDICTIONS:
        how = "another image that is given it predicts as the image that it came from"
    elif (label := evidence.get("label")) is not None:  # of one class alone
        how = f"images that are given that of class {float(label):.0f} are put into it"
    else:
        how = "predictions follow it"
    without = evidence.get("without")
    more = "" if without is None or math.isnan(float(without)) else _more(what, float(without))
    more += _of_audit(what, case.finding.evidence)
    told = "" if share is None or math.isnan(float(share)) else f" in {float(share):.0%} of the cases"
    return Tested(
        True,
        f"Exchanged between images, {what} alone turns the decision: {how}{told}.{more}",
        case.finding.advice,
        {key: value for key, value in (("follows", share),) if value is not None},
    )


def _more(what: str, without: float) -> str:
    """Whether more was there to be had."""
    if without <= 0:
        return ""
    return (
        f" The images hold more of the label than that: where {what} is made the same in all of them, a small model "
        f"still gets {without:.0%} of the way from always naming one class to naming all rightly."
    )


def _of_audit(what: str, evidence: Mapping[str, Evidence]) -> str:
    """What an audit before training said of the same content; empty where there was none."""
    alone, without = (_figure(evidence.get(key)) for key in ("audit_alone", "audit_without"))
    if math.isnan(alone):
        return ""
    rest = "" if math.isnan(without) else f", without it {without:.2f}"
    return f" The audit before training: {what} alone gives {alone:.2f}{rest}."


def _figure(given: Evidence) -> float:
    return math.nan if given is None else float(given)


SHORTCUT = CauseTest("shortcut", (*LEANS, GENERALISATION_GAP, FACTOR_FAILURE), _test)
