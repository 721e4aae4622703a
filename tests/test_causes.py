"""A cause is named where undoing it mends the figure, and excluded where it does not: from logged figures alone."""

import math
from dataclasses import replace

import pytest

from lightning_failures import FailureDiagnosis
from lightning_failures.callbacks.causes import CAUSE_TESTS, diagnose
from lightning_failures.records import CAUSES, FINDING_KINDS, Evaluation, Finding, RunRecord

MENDED = {"before": 0.2, "before_low": 0.15, "before_high": 0.26, "after": 0.95, "after_low": 0.92, "after_high": 0.97}


def found(kind: str, **evidence: float) -> Finding:
    return Finding(kind=kind, subject="", epoch=2, step=60, evidence=evidence or {"x": 1.0}, message="It fails.")


def record(values: dict[str, float], *before: dict[str, float]) -> RunRecord:
    every = [{f"failures/{key}": value for key, value in each.items()} for each in (*before, values)]
    return RunRecord("run", [Evaluation(epoch, 20 * (epoch + 1), each) for epoch, each in enumerate(every)])


def experiment(name: str, gain_low: float = 0.6, share: float = 0.97, **changed: float) -> dict[str, float]:
    figures = MENDED | {"gain": 0.75, "gain_low": gain_low, "gain_high": 0.8, "share": share} | changed
    made = {f"causes/{key}/{name}": value for key, value in figures.items()}
    # what lags in evaluation does so on training images too
    return made | (experiment("training_images", gain_low, share) if name == "evaluation_mode" else {})


#: A run in which nothing is wrong with the data, the mode or the training.
SOUND = {
    "causes/channels_differ": 0.0,
    "causes/channels_moved": 0.0,
    "causes/input_channel": 0.0,
    "causes/input_shift": 0.01,
    "causes/input_ratio": 1.0,
    "causes/input_scale": 1.0,
    "causes/input_offset": 0.0,
    "causes/training_accuracy": 0.5,
    "causes/reached": 0.5,
    "causes/validation_accuracy": 0.48,
    "causes/validation_low": 0.44,
    "causes/gap_low": -0.02,
    "causes/chance": 0.11,
    "causes/in_training_mode": 0.0,
    "causes/labels_renamed": 0.0,
    "simplicity/best_reach": 0.4,
    "simplicity/images": 500.0,
    "training/not_finite": 0.0,
    "training/never_moved": 0.0,
    "training/not_in_optimizer": 0.0,
    "training/stale_parameters": 0.0,
    "training/update_ratio/median": 2e-3,
    "training/update_ratio/largest": 8e-3,
    "training/distance/median": 0.5,
    "training/loss_slope_high": 0.01,
    "training/loss_straightness": 0.1,
    "training/loss_noise": 0.1,
    **experiment("labels", gain_low=0.0, share=0.0),
    **experiment("evaluation_mode", gain_low=-0.01, share=0.0),
}

CASES: dict[str, tuple[str, dict[str, float], str]] = {
    "input_mismatch": (
        "generalisation_gap",
        {"causes/channels_differ": 2.0, "causes/input_channel": 3.0, "causes/input_ratio": 10.0}
        | experiment("input_scale"),
        "In 2 channels validation images are on another scale than training images. Most of all channel 3",
    ),
    "label_mismatch": (
        "generalisation_gap",
        experiment("labels") | {"causes/labels_renamed": 10.0, "causes/label_shift": 1.0},
        "The network tells the classes apart, but under other numbers than these labels (10 classes, each label 1",
    ),
    "evaluation_mode": (
        "class_collapse",
        experiment("evaluation_mode"),
        "Batch norm's running statistics, with which the network is evaluated, are not those of the batches",
    ),
    "class_imbalance": (
        "class_collapse",
        experiment("class_imbalance", gain_low=0.12, share=0.2)
        | {
            "causes/uneven_classes": 1.0,
            "causes/largest_class_share": 0.46,
            "causes/smallest_class_share": 0.004,
        },
        "Of the training images that were kept, 46% are of the most frequent class and 0.4% of the rarest.",
    ),
    "not_finite": (
        "untapped_information",
        {"training/not_finite": 1.0, "training/not_finite_weight/net.0.weight": 87.0},
        "The first number that was not finite was seen at step 87, in the parameter net.0.weight.",
    ),
    "dead_units": (
        "representation_collapse",
        {"training/dead_units": 0.9, "training/dead_units/net.2": 0.9, "training/dead_units/net.0": 0.1},
        "90% of the units of net.2 gave no gradient",
    ),
    "frozen_parameters": (
        "untapped_information",
        {"training/not_in_optimizer": 0.9, "training/stale_parameters": 4.0},
        "90% of the numbers that require a gradient are held by no optimizer, and it holds 4 parameters",
    ),
    "learning_rate_high": (
        "class_collapse",
        {"training/update_ratio/largest": 0.3},
        "After the first epoch, steps moved weights by up to 0.3 of their size",
    ),
    "learning_rate_low": (
        "no_learning",
        {
            "training/update_ratio/median": 6e-5,
            "training/distance/median": 0.01,
            "training/loss_slope_high": -0.01,
            "training/loss_straightness": 0.9,
        },
        "A step moves the weights by 6e-05 of their size",
    ),
    "no_signal": (
        "no_learning",
        {"causes/validation_accuracy": 0.1, "causes/validation_low": 0.08, "simplicity/best_reach": 0.12},
        "On validation images the network is right on 10.0%",
    ),
    "label_noise": (
        "generalisation_gap",
        {"data/mislabelled": 0.3, "data/mislabelled_low": 0.25, "data/mislabelled_high": 0.36},
        "By how training images are learnt, 30% of their labels are wrong (95% interval 25% to 36%).",
    ),
    "overfitting": (
        "generalisation_gap",
        {"causes/training_accuracy": 1.0, "causes/validation_accuracy": 0.6, "causes/gap_low": 0.33},
        "In evaluation mode the network is right on 100.0% of the images that it was trained on and on 60.0%",
    ),
}


def test_outputs_that_get_no_gradient_are_why_classes_are_never_given() -> None:
    figures = {"training/dead_units": 0.3, "training/dead_outputs": 0.3, "collapse/classes_never_given": 3.0}
    told = diagnose(found("class_collapse"), record(SOUND | figures))
    assert told.cause == "dead_units"
    assert told.why.startswith("30% of the outputs of the last linear layer gave no gradient")
    whole = SOUND | figures | {"training/dead_outputs": 0.0}
    assert diagnose(found("class_collapse"), record(SOUND | figures, whole)).cause == "dead_units"  # one image got past
    assert "dead_units" in diagnose(found("class_collapse"), record(whole)).excluded


@pytest.mark.parametrize(("unseen", "cause"), [(2.0, "label_mismatch"), (1.0, None), (0.0, None)])
def test_classes_that_training_never_showed_are_why_they_are_never_given(unseen: float, cause: str | None) -> None:
    figures = {"collapse/classes_never_given": 2.0, "data/unseen_classes": unseen, "data/unseen_class_images": 0.1}
    told = diagnose(found("class_collapse"), record(SOUND | figures))
    assert told.cause == cause
    if cause:
        assert told.why.startswith("Training shows no image of 2 of the classes that validation asks for, which are 10")


@pytest.mark.parametrize("name", CASES)
def test_a_cause_that_explains_is_named_with_its_figures(name: str) -> None:
    kind, figures, words = CASES[name]
    told = diagnose(found(kind), record(SOUND | figures, {"val_loss": 1.0}))
    assert told.cause == name
    assert told.why.startswith(words)
    assert told.advice
    assert name not in told.excluded
    assert told.experiment


@pytest.mark.parametrize(("key", "side"), [("blank", "validation"), ("training_blank", "training")])
@pytest.mark.parametrize("kind", ["representation_collapse", "no_learning"])
def test_constant_inputs_are_named_as_what_tells_nothing(kind: str, key: str, side: str) -> None:
    told = diagnose(found(kind), record(SOUND | {f"data/{key}": 1.0}))
    assert told.cause == "no_signal"
    assert told.why == (
        f"In all the {side} images each channel has one value throughout, the same in each of them: the inputs are "
        "constant."
    )
    few = diagnose(found(kind), record(SOUND | {f"data/{key}": 0.2}))
    assert few.cause is None
    assert ("no_signal" in few.excluded) is (kind == "no_learning")


def test_a_finding_on_what_is_not_finite_keeps_the_advice_of_its_own_rule() -> None:
    figures = SOUND | {"training/not_finite": 1.0, "training/not_finite_loss/training": 87.0}
    finding = replace(found("not_finite"), advice="Look in the loss.")
    assert diagnose(finding, record(figures)).advice == finding.advice
    assert diagnose(found("no_learning"), record(figures)).advice != finding.advice


@pytest.mark.parametrize("kind", [kind for kind, _, _ in CASES.values()])
def test_in_a_sound_run_every_cause_that_was_tested_is_excluded_and_none_is_named(kind: str) -> None:
    told = diagnose(found(kind), record(SOUND))
    assert told.cause is None
    assert told.why == ""
    assert "not_finite" in told.excluded


@pytest.mark.parametrize("kind", FINDING_KINDS)
def test_without_figures_nothing_is_named_and_nothing_excluded(kind: str) -> None:
    told = diagnose(found(kind), record({"val_loss": 1.0}))
    if kind not in ("one_dimensional_predictions", "simple_cue_reliance", "single_band_reliance"):
        assert (told.cause, told.excluded) == (None, ())


def test_of_two_causes_the_one_that_closes_more_of_the_gap_is_named() -> None:
    both = experiment("labels", share=0.4) | experiment("evaluation_mode", share=0.9)
    assert diagnose(found("class_collapse"), record(SOUND | both)).cause == "evaluation_mode"
    other = experiment("labels", share=0.9) | experiment("evaluation_mode", share=0.4)
    assert diagnose(found("class_collapse"), record(SOUND | other)).cause == "label_mismatch"


def test_an_experiment_comes_before_what_cannot_be_undone() -> None:
    figures = {"training/update_ratio/largest": 0.5} | experiment("evaluation_mode")
    assert diagnose(found("class_collapse"), record(SOUND | figures)).cause == "evaluation_mode"


def test_a_gain_that_may_be_chance_explains_nothing() -> None:
    told = diagnose(found("class_collapse"), record(SOUND | experiment("evaluation_mode", gain_low=0.01)))
    assert told.cause is None
    assert "evaluation_mode" in told.excluded


def test_a_cause_whose_experiment_was_not_made_is_not_excluded() -> None:
    unmade = SOUND | {"causes/channels_differ": 3.0}
    assert "input_mismatch" not in diagnose(found("generalisation_gap"), record(unmade)).excluded


@pytest.mark.parametrize("missing", ["labels", "input_scale", "evaluation_mode"])
def test_no_later_cause_is_named_while_an_experiment_before_it_could_not_be_made(missing: str) -> None:
    blamed = SOUND | {"causes/channels_differ": 3.0, "training/update_ratio/largest": 0.5} | experiment("input_scale")
    blamed |= experiment("evaluation_mode", gain_low=0.0) | experiment("input_scale", gain_low=0.0)
    assert diagnose(found("no_learning"), record(blamed, SOUND)).cause == "learning_rate_high"
    lost = (f"/{missing}", "/training_images" if missing == "evaluation_mode" else "/none")
    unmade = {key: value for key, value in blamed.items() if not key.endswith(lost)}
    if missing == "evaluation_mode":  # whose experiment is needless without batch norm, of which a run tells by then
        unmade["causes/training_accuracy"] = math.nan
    told = diagnose(found("no_learning"), record(unmade, dict.fromkeys(SOUND, math.nan)))
    assert told.cause is None
    assert "learning_rate_high" in told.untested
    assert "learning_rate_high" not in told.excluded


def test_inputs_that_differ_without_being_mended_are_open_and_no_later_cause_is_named() -> None:
    apart = SOUND | {"causes/channels_differ": 3.0, "causes/gap_low": 0.4, "causes/training_accuracy": 0.95}
    apart |= experiment("input_scale", gain_low=0.0) | {"causes/validation_accuracy": 0.5, "causes/reached": 0.95}
    told = diagnose(found("generalisation_gap"), record(apart))
    assert told.cause is None
    assert {"input_mismatch", "overfitting"} <= {*told.untested}
    alike = apart | {"causes/channels_differ": 0.0}
    assert diagnose(found("generalisation_gap"), record(alike)).cause == "overfitting"


def test_a_cause_that_can_no_longer_be_is_taken_back() -> None:
    high = SOUND | {"training/update_ratio/largest": 0.3}
    first = diagnose(found("no_learning"), record(high, SOUND))
    assert first.cause == "learning_rate_high"
    assert diagnose(first, record(high | {"training/gradient_survives": 1.0}, SOUND), "Look again.").cause is None


def test_an_experiment_without_training_images_was_not_made() -> None:
    alone = SOUND | experiment("labels") | {"causes/reached": math.nan, "causes/share/labels": math.nan}
    told = diagnose(found("class_collapse"), record(alone))
    assert told.cause is None
    assert "label_mismatch" in told.untested


def test_a_cause_that_is_excluded_by_now_is_taken_back_with_its_advice() -> None:
    first = diagnose(found("class_collapse"), record(SOUND | experiment("evaluation_mode")))
    later = diagnose(first, record(SOUND | experiment("evaluation_mode", gain_low=0.0)), "Look again.")
    assert (later.cause, later.why, later.advice, dict(later.experiment)) == (None, "", "Look again.", {})


def test_a_cause_stays_known_where_a_later_evaluation_examines_nothing() -> None:
    first = diagnose(found("class_collapse"), record(SOUND | experiment("evaluation_mode")))
    later = diagnose(first, record({"val_loss": 1.0}))
    assert (later.cause, later.why) == ("evaluation_mode", first.why)


def test_figures_of_the_last_evaluations_count_where_the_newest_has_none() -> None:
    told = diagnose(found("class_collapse"), record({"val_loss": 1.0}, SOUND | experiment("evaluation_mode")))
    assert told.cause == "evaluation_mode"
    nan = dict.fromkeys(SOUND, math.nan)
    assert diagnose(found("class_collapse"), record(nan, SOUND | experiment("evaluation_mode"))).cause is not None


def test_labels_without_a_signal_are_learnt_by_heart_and_a_shortcut_that_breaks_is_learnt_at_once() -> None:
    gap = SOUND | {"causes/reached": 1.0, "causes/validation_low": 0.08, "causes/validation_accuracy": 0.11}
    gap |= {"causes/training_accuracy": 1.0, "causes/gap_low": 0.8, "simplicity/best_reach": 0.11}
    by_heart = diagnose(found("generalisation_gap"), record(gap, gap | {"causes/reached": 0.13}))
    at_once = diagnose(found("generalisation_gap"), record(gap, gap | {"causes/reached": 0.9}))
    assert by_heart.cause == "no_signal"
    assert at_once.cause is None
    assert {"no_signal", "overfitting"} <= {*at_once.excluded}


def test_units_that_died_while_the_loss_never_fell_were_killed_by_the_learning_rate() -> None:
    died = SOUND | {"training/dead_units": 1.0, "training/dead_units/net.4": 1.0, "training/loss_ratio": 1.01}
    before = died | {"training/dead_units": 0.2, "training/dead_units/net.4": 0.2}
    assert diagnose(found("no_learning"), record(died, before)).cause == "learning_rate_high"
    fell = before | {"training/loss_ratio": 0.3}
    assert diagnose(found("no_learning"), record(died, before, fell)).cause == "dead_units"
    assert diagnose(found("no_learning"), record(died, died)).cause == "dead_units"  # from the start


def test_what_mends_more_than_there_was_to_mend_is_not_the_cause() -> None:
    told = diagnose(found("class_collapse"), record(SOUND | experiment("labels", share=3.3)))
    assert told.cause is None
    assert "label_mismatch" in told.excluded


def test_a_class_that_leans_on_a_cue_is_said_of_that_class() -> None:
    finding = found("simple_cue_reliance", label=3.0, class_reliance=0.98, reliance=0.14)
    told = diagnose(replace(finding, subject="grey_level"), record({}))
    assert told.why == (
        "Exchanged between images, grey_level alone turns the decision: images that are given that of class 3 are put "
        "into it in 98% of the cases."
    )


def test_what_leans_on_one_thing_leans_on_a_shortcut_and_says_on_which() -> None:
    cue = Finding(
        kind="simple_cue_reliance",
        subject="total_absorbance",
        epoch=2,
        step=60,
        evidence={"share": 0.91},
        message="It leans.",
        advice="Divide by the total.",
    )
    told = diagnose(cue, record(SOUND))
    assert (told.cause, told.advice) == ("shortcut", "Divide by the total.")
    assert "total_absorbance alone turns the decision" in told.why
    assert told.experiment == {"follows": 0.91}


def test_leaked_images_are_the_cause_of_the_finding_on_them_and_of_nothing_else() -> None:
    leaked = Finding(
        kind="data_fault", subject="", epoch=0, step=9, evidence={"x": 1.0}, message="Leaked.", rule="leakage"
    )
    told = diagnose(leaked, record(SOUND | {"data/leakage": 0.2}))
    assert (told.cause, told.experiment) == ("leakage", {"leaked": 0.2})
    assert diagnose(found("class_collapse"), record(SOUND | {"data/leakage": 0.2})).cause is None


def test_an_accuracy_that_still_rises_is_a_training_that_ended_too_early() -> None:
    course = [{"causes/validation_accuracy": accuracy} for accuracy in (0.5, 0.6, 0.68)]
    now = SOUND | {"causes/validation_accuracy": 0.75, "training/loss_slope_high": -0.1}
    told = diagnose(found("untapped_information"), record(now, *course))
    assert told.cause == "unfinished_training"
    assert told.experiment == {"before": 0.5, "after": 0.75}
    flat = [{"causes/validation_accuracy": accuracy} for accuracy in (0.75, 0.74, 0.76)]
    assert diagnose(found("untapped_information"), record(now, *flat)).cause is None


def test_causes_are_tested_in_the_order_in_which_they_are_listed_and_explain_known_kinds() -> None:
    places = [list(CAUSES).index(each.name) for each in CAUSE_TESTS]
    assert places == sorted(places)
    assert all(set(each.explains) <= set(FINDING_KINDS) for each in CAUSE_TESTS)


def on_images(factor: str, channels: float = 2.0, **changed: float) -> dict[str, float]:
    """The comparison of the images that carry a factor with the others, and what preparing them as those gave."""
    known = {"channels": channels, "channel": 1.0, "shift": 2.5, "ratio": 0.05, "scale": 20.0, "offset": -40.0}
    made = MENDED | {
        "gain": 0.75,
        "gain_low": 0.6,
        "share": 0.9,
        "own": 0.2,
        "others": 0.97,
        "undone": 0.0,
        "moved": 0.0,
    }
    return {f"causes/factor_{key}/{factor}": value for key, value in (known | made | changed).items()}


def factor_failure(subject: str = "study/b", kind: str = "factor_failure") -> Finding:
    return replace(found(kind), subject=subject)


def test_images_that_were_right_at_an_earlier_epoch_are_not_prepared_otherwise() -> None:
    spill = diagnose(factor_failure(kind="factor_spillover"), record(SOUND | on_images("study%2Fb")))
    then = SOUND | on_images("study%2Fb") | {"factors/spillover/study%2Fb": 1.0}
    for told in (spill, diagnose(factor_failure(), record(then))):
        assert told.cause is None


def test_gradients_that_are_never_set_back_are_no_matter_of_the_rate_nor_of_dead_units() -> None:
    figures = {"training/update_ratio/largest": 0.3, "training/dead_units": 1.0, "training/dead_units/net.2": 1.0}
    summed = SOUND | figures | {"training/gradient_survives": 1.0}
    told = diagnose(found("training_fault"), record(summed, SOUND))
    assert told.cause is None
    assert not {"learning_rate_high", "dead_units"} & {*told.excluded, *told.untested}


def test_a_rate_with_which_training_images_are_learnt_is_not_too_large() -> None:
    learnt = SOUND | {"training/update_ratio/largest": 0.3, "causes/reached": 0.95}
    assert "learning_rate_high" in diagnose(found("class_collapse"), record(learnt, SOUND)).excluded


@pytest.mark.parametrize(("gap_low", "cause"), [(0.15, "no_signal"), (0.02, "learning_rate_high")])
def test_large_steps_that_learn_training_images_by_heart_are_not_why_nothing_holds_on_others(
    gap_low: float, cause: str
) -> None:
    figures = {"training/update_ratio/largest": 0.07, "causes/reached": 0.33, "causes/gap_low": gap_low}
    figures |= {"causes/validation_accuracy": 0.1, "causes/validation_low": 0.08, "simplicity/best_reach": 0.12}
    assert diagnose(found("no_learning"), record(SOUND | figures, SOUND | figures)).cause == cause


def test_steps_too_small_are_why_a_few_parameters_never_move_and_no_reason_for_other_faults() -> None:
    small = SOUND | CASES["learning_rate_low"][1] | {"training/never_moved": 0.0004}
    fault = replace(found("training_fault"), rule="never_moved")
    assert diagnose(fault, record(small)).cause == "learning_rate_low"
    other = diagnose(replace(fault, rule="exploding_loss"), record(small))
    assert other.cause is None
    assert "learning_rate_low" not in {*other.excluded, *other.untested}


def test_an_optimizer_over_other_parameters_comes_before_units_that_are_dead() -> None:
    stale = SOUND | {"training/not_in_optimizer": 1.0, "training/dead_units": 1.0, "training/dead_units/net.2": 1.0}
    assert diagnose(found("training_fault"), record(stale, SOUND)).cause == "frozen_parameters"


SMOOTH = {"training/loss_slope_high": -0.01, "training/loss_straightness": 1.8, "training/update_ratio/median": 6e-4}


@pytest.mark.parametrize(("after_low", "cause"), [(0.92, "label_mismatch"), (0.18, None)])
def test_one_class_renamed_to_the_most_frequent_one_is_no_mismatch_of_labels(
    after_low: float, cause: str | None
) -> None:
    figures = SOUND | experiment("labels", before=0.02, after_low=after_low)  # where chance is 0.11
    assert diagnose(found("no_learning"), record(figures)).cause == cause


def test_steps_of_the_usual_size_are_not_too_small_however_evenly_the_loss_falls() -> None:
    usual = SOUND | SMOOTH | {"training/loss_noise": 0.004, "training/update_ratio/median": 2e-3}
    assert "learning_rate_low" in diagnose(found("untapped_information"), record(usual, SOUND)).excluded


def test_what_training_images_gain_by_the_batchs_statistics_is_no_cause_where_validation_images_gain_nothing() -> None:
    nothing = experiment("evaluation_mode", gain_low=-0.01, share=0.0, after=0.21)
    by_heart = SOUND | nothing | experiment("training_images")
    lags = SOUND | experiment("evaluation_mode") | experiment("training_images")
    assert diagnose(found("no_learning"), record(lags)).cause == "evaluation_mode"
    assert "evaluation_mode" in diagnose(found("no_learning"), record(by_heart)).excluded


@pytest.mark.parametrize(("noise", "cause"), [(0.004, "learning_rate_low"), (0.2, None)])
def test_a_loss_that_falls_without_any_spread_is_that_of_steps_too_small(noise: float, cause: str | None) -> None:
    told = diagnose(found("untapped_information"), record(SOUND | SMOOTH | {"training/loss_noise": noise}, SOUND))
    assert told.cause == cause
    assert cause is None or "spreads by no more than 0.4% from step to step" in told.why


FROZEN = {"training/frozen": 0.9, "simplicity/best_reach": 0.95, "simplicity/model_accuracy": 0.4}


def test_a_backbone_that_is_frozen_and_gives_less_than_the_images_is_named_with_its_figures() -> None:
    told = diagnose(found("untapped_information"), record(SOUND | FROZEN, SOUND))
    assert told.cause == "frozen_parameters"
    assert told.experiment == {"frozen": 0.9, "accuracy": 0.4, "simple_model": 0.95}
    assert told.why.startswith("90% of the network's weights require no gradient. With the features")


@pytest.mark.parametrize("sound", [{"training/frozen": 0.2}, {"simplicity/model_accuracy": 0.93}])
def test_a_frozen_part_that_is_small_or_serves_its_head_is_no_cause(sound: dict[str, float]) -> None:
    told = diagnose(found("untapped_information"), record(SOUND | FROZEN | sound, SOUND))
    assert "frozen_parameters" in told.excluded


def test_others_that_are_hardly_above_chance_are_not_explained_by_learning_by_heart() -> None:
    gap = SOUND | {"causes/training_accuracy": 1.0, "causes/reached": 1.0, "causes/gap_low": 0.7}
    little = gap | {"causes/validation_accuracy": 0.2, "causes/validation_low": 0.17}
    half = gap | {"causes/validation_accuracy": 0.6, "causes/validation_low": 0.56}
    assert diagnose(found("generalisation_gap"), record(little)).cause is None
    assert diagnose(found("generalisation_gap"), record(half)).cause == "overfitting"


def test_images_of_a_factor_on_another_scale_are_the_cause_of_the_finding_on_them() -> None:
    told = diagnose(factor_failure(), record(SOUND | on_images("study%2Fb")))
    assert told.cause == "input_mismatch"
    assert told.why == (
        "In 2 channels images marked study/b are on another scale than the others. Most of all in channel 1 (counted "
        "from 0): their mean is 2.50 standard deviations of the others higher, and their deviation is 0.05 times as "
        "large. With the others' mean and deviation, the accuracy on the same images goes from 0.20 to 0.95 (95% "
        "interval 0.92 to 0.97), which closes 90% of the gap to the other images."
    )
    assert told.advice.endswith("in channel 1, multiply by 20 and add -40.")
    assert told.experiment["others"] == 0.97


def test_the_comparison_of_another_factor_is_not_used() -> None:
    told = diagnose(factor_failure(), record(SOUND | on_images("study%2Fc")))
    assert told.cause is None
    assert "input_mismatch" in told.excluded  # of all validation images
    alike = on_images("study%2Fc") | {"causes/factor_channels/study%2Fb": 0.0}
    assert diagnose(factor_failure(), record(SOUND | alike)).cause is None
    assert diagnose(found("generalisation_gap"), record(SOUND | on_images("study%2Fb"))).cause is None


def test_a_scale_that_does_not_mend_the_factor_is_excluded_and_one_that_was_not_undone_is_not_tested() -> None:
    kept = on_images("study%2Fb", gain_low=-0.02, share=0.05)
    told = diagnose(factor_failure(), record(SOUND | kept))
    assert (told.cause, "input_mismatch" in told.excluded) == (None, True)
    for unmade in (on_images("study%2Fb", after=math.nan), {"causes/factor_channels/study%2Fb": math.nan}):
        told = diagnose(factor_failure(), record(SOUND | unmade))
        assert (told.cause, "input_mismatch" in told.untested) == (None, True)
        assert "input_mismatch" not in told.excluded


def test_a_cause_of_all_validation_images_stays_that_of_a_factor_too() -> None:
    whole = {"causes/channels_differ": 2.0} | experiment("input_scale")
    alike = {"causes/factor_channels/study%2Fb": 0.0}
    told = diagnose(factor_failure(), record(SOUND | whole | alike))
    assert (told.cause, "others" in told.experiment) == ("input_mismatch", False)
    assert told.why.startswith("In 2 channels validation images are on another scale")
    more = diagnose(factor_failure(), record(SOUND | whole | on_images("study%2Fb", share=0.99)))
    assert more.why.startswith("In 2 channels images marked study/b are on another scale")


def test_a_channel_with_one_value_in_validation_is_proven_by_spoiling_training_images() -> None:
    constant = {"channels_constant": 1.0, "channels_faulty": 1.0, "constant_channel": 3.0, "constant_value": 0.0}
    figures = {f"causes/{key}": value for key, value in constant.items()}
    spoilt = experiment("constant_channels", before=0.31, after=0.98, share=0.95)
    told = diagnose(found("generalisation_gap"), record(SOUND | figures | spoilt | {"causes/validation_accuracy": 0.3}))
    assert told.cause == "input_mismatch"
    assert told.why == (
        "Channel 3 is 0 everywhere in validation images, and varies in training images. With the same put into "
        "training images, the accuracy on them falls from 0.98 to 0.31 (95% interval 0.15 to 0.26); on validation "
        "images it is 0.30."
    )
    unmade = diagnose(found("generalisation_gap"), record(SOUND | figures))
    assert "input_mismatch" in unmade.untested


def test_a_fault_that_cannot_be_undone_is_neither_the_cause_nor_excluded() -> None:
    for kind, figures in (
        ("generalisation_gap", {"causes/channels_faulty": 1.0, "causes/channels_constant": 0.0}),
        ("factor_failure", {"causes/factor_channels/study%2Fb": 0.0, "causes/factor_faulty/study%2Fb": 2.0}),
    ):
        told = diagnose(factor_failure(kind=kind), record(SOUND | figures))
        assert told.cause is None
        assert "input_mismatch" not in (*told.excluded, *told.untested)


def test_a_channel_that_a_factor_lacks_is_told_by_what_the_others_lose_without_it() -> None:
    figures = on_images("study%2Fb", 0.0, undone=3.0, constant_channel=1.0, constant_value=0.0)
    told = diagnose(factor_failure(), record(SOUND | figures))
    assert told.cause == "input_mismatch"
    assert told.why.startswith("Channel 1 is 0 everywhere in images marked study/b, and varies in the other images.")
    assert told.why.endswith("on images marked study/b it is 0.20.")


def gaps(*lows: float, gap: float = 0.25) -> list[tuple[str, int, int | None]]:
    """What is raised over the lower ends of a gap's interval, one per epoch."""
    diagnosis = FailureDiagnosis(announce="nothing")
    figures = {"training_accuracy": 1.0, "validation_accuracy": 1 - gap, "gap": gap, "gap_high": gap + 0.1, "proven": 0}
    for epoch, low in enumerate(lows, 2):
        values = {f"failures/causes/{name}": value for name, value in (figures | {"gap_low": low}).items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, values))
    return [(finding.rule, finding.epoch, finding.cleared) for finding in diagnosis.history]


def test_a_gap_that_its_interval_shows_is_named_at_once_and_stays_where_fewer_images_are_looked_at() -> None:
    assert gaps(-0.1, -0.1, 0.2, -0.2, -0.2) == [("generalisation_gap", 4, None)]
    assert gaps(-0.1, 0.18, 0.18) == []
    assert gaps(0.2, 0.05, 0.05, gap=0.08) == [("generalisation_gap", 2, 4)]
