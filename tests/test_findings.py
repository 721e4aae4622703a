import json
import math

import numpy as np
import pytest
import torch

from lightning_failures import Finding
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records import FINDING_KINDS, strict
from tests.records import UNTAPPED


def made(**changes: object) -> Finding:
    fields = {
        "kind": "factor_failure",
        "subject": "dark",
        "epoch": 3,
        "step": 90,
        "evidence": {"error_ratio": 2.0},
        "message": "Twice the errors.",
    }
    return Finding(**(fields | changes))  # type: ignore[arg-type]


def test_a_finding_survives_strict_json() -> None:
    again = Finding.from_dict(json.loads(json.dumps(UNTAPPED.to_dict(), allow_nan=False)))
    assert again == UNTAPPED


def test_a_finding_survives_a_checkpoint_that_loads_weights_only(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.save(made(evidence={"low": np.float64(1.5), "images": 40}).to_dict(), tmp_path / "state.pt")
    assert Finding.from_dict(torch.load(tmp_path / "state.pt", weights_only=True)).evidence == {
        "low": 1.5,
        "images": 40,
    }


def test_nan_evidence_becomes_null_and_an_infinity_its_name() -> None:
    evidence = made(evidence={"low": math.nan, "high": math.inf, "layer": "fc"}).to_dict()["evidence"]
    assert evidence == {"low": None, "high": "inf", "layer": "fc"}
    assert strict(-math.inf) == "-inf"


def test_a_finding_stands_until_it_is_cleared() -> None:
    finding = made()
    assert finding.standing
    cleared = finding.with_cleared(5)
    assert not cleared.standing
    assert cleared.cleared == 5
    assert finding.cleared is None


def test_a_finding_keeps_its_own_copy_of_the_evidence() -> None:
    evidence: dict[str, float | int | str | None] = {"low": 1.5}
    finding = made(evidence=evidence)
    evidence["low"] = 0.0
    assert finding.evidence == {"low": 1.5}


def test_fields_of_other_tools_are_left_out_when_a_finding_is_read() -> None:
    assert Finding.from_dict(made().to_dict() | {"run": "raw"}) == made()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"kind": "bad_luck"},
            UnknownNameError,
            f"Finding: unknown kind; given 'bad_luck'. Use one of {', '.join(FINDING_KINDS)}.",
        ),
        (
            {"severity": "fatal"},
            UnknownNameError,
            "Finding: unknown severity; given 'fatal'. Use one of watch, warning, failure.",
        ),
        (
            {"evidence": {}},
            InputError,
            "Finding: a finding without evidence; given 'factor_failure'. Pass the figures it rests on.",
        ),
        (
            {"evidence": {"low": torch.tensor(1.0)}},
            InputError,
            "Finding: evidence that is not a plain number or text; given 'low' of type Tensor. "
            "Pass value.item() instead.",
        ),
        (
            {"step": -1},
            InputError,
            "Finding: an epoch or a step below 0; given epoch 3, step -1. Pass those of the trainer.",
        ),
        (
            {"cleared": 2},
            InputError,
            "Finding: cleared before it was raised; given raised at epoch 3, cleared at 2. "
            "Pass the epoch of a later evaluation.",
        ),
    ],
)
def test_a_bad_finding_says_what_is_wrong(changes: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        made(**changes)
    assert str(caught.value) == text


def test_a_finding_that_lacks_fields_cannot_be_read() -> None:
    with pytest.raises(InputError) as caught:
        Finding.from_dict({"kind": "factor_failure", "message": ""})
    assert str(caught.value) == (
        "Finding.from_dict: no subject, epoch, step, evidence; given kind, message. Pass what to_dict returned."
    )


def test_a_finding_keeps_its_cause_its_experiment_and_what_was_excluded() -> None:
    found = made(
        cause="evaluation_mode", excluded=("input_mismatch",), experiment={"before": 0.3, "after": 0.9, "share": 0.97}
    )
    again = Finding.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert (again.cause, again.excluded, again.experiment["after"]) == ("evaluation_mode", ("input_mismatch",), 0.9)


@pytest.mark.parametrize("changes", [{"cause": "bad_luck"}, {"excluded": ["bad_luck"]}])
def test_a_cause_that_does_not_exist_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnknownNameError, match=r"Finding: unknown cause; given 'bad_luck'\. Use one of not_finite, "):
        made(**changes)
