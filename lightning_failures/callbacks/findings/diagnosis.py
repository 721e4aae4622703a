"""Reads what the monitors logged, applies rules, and says when, how and why a run fails."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_failures.callbacks.both_names import TheirCallback
from lightning_failures.callbacks.budget import SHARE, Budget
from lightning_failures.callbacks.causes.diagnose import diagnose
from lightning_failures.callbacks.columns import COLUMNS, standard_rules
from lightning_failures.callbacks.error_guard import ErrorGuard
from lightning_failures.callbacks.findings.announcer import Announced, Announcer
from lightning_failures.callbacks.findings.evidence_pictures import draw_evidence
from lightning_failures.callbacks.findings.logged import COUNT, SUMMARY
from lightning_failures.callbacks.findings.named_rules import rules_under_name
from lightning_failures.callbacks.findings.provenance import note_provenance
from lightning_failures.callbacks.findings.rule_streaks import RuleStreaks
from lightning_failures.callbacks.findings.rulebook import RuleSource, read_rules
from lightning_failures.callbacks.findings.validation_metric import ValidationMetric, find_metric, with_lead
from lightning_failures.callbacks.findings.webhook import Notify, Webhook
from lightning_failures.callbacks.freshness import Freshness
from lightning_failures.callbacks.logged_step import curve_axis, logged_step
from lightning_failures.callbacks.monitor import Monitor, monitors_of
from lightning_failures.callbacks.picture import Pictures
from lightning_failures.callbacks.state_key import state_key
from lightning_failures.errors import InputError
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.kind import MONITOR_ERROR
from lightning_failures.records.order import Order
from lightning_failures.records.run_record import Evaluation, RunRecord
from lightning_failures.reporting.loggers import define_curves, flush, log_config, log_scalars, log_summary
from lightning_failures.reporting.report import write_report
from lightning_failures.reporting.sentences import headline, tally, title
from lightning_failures.version import __version__

__all__ = ["FailureDiagnosis"]

WHERE = "FailureDiagnosis"


class FailureDiagnosis(Callback, TheirCallback):
    """Raises and clears findings over the values that were logged afresh at each evaluation.

    What holds at the last evaluation of a run, though not at as many as its rule asks for, is worth watching in the
    verdict, :attr:`unconfirmed`; a run that goes on has yet to confirm it.

    ``trainer.test()`` and ``trainer.validate()`` end with a verdict of their own, :attr:`alone`, on that one
    evaluation, and with a report in the folder ``test`` or ``validation`` of ``report_dir``.

    It stands after the monitors in the Trainer's list of callbacks. A finding is printed when it is raised, sent as an
    alert where the logger has alerts, and reported at the end of the run; the worst factor and the newest finding stand
    in the progress bar. A monitor with a name of its own has the rules of its noun too, each called
    ``"<rule> (<name>)"``.

    Args:
        rules: the rules to apply: a list or a YAML file, see :func:`.read_rules`;
            None: :func:`.standard_rules`.
        report_dir: folder for ``findings.json`` and ``report.html``; None: none is written.
        action: ``"stop"``: a finding of severity ``"failure"`` ends the run, on all processes, after its evaluation.
        metric: the run's own validation metric, ``"min val_loss"`` or ``"max val_acc"``, over which a finding's lead is
            counted; None: found by its usual names.
        name: name of the run in the report.
        announce: what is printed: ``"verdict"``: each finding when it is raised or cleared, and the verdict at the end;
            ``"findings"``: the findings alone; ``"nothing"``.
        notify: ``"https://..."``, to which one JSON is posted for each finding that is raised, becomes more severe or
            is cleared; or a callable, which gets it as a dict, in a thread of its own. See :class:`.Webhook`.
        budget: share of the run's own time that it may take, or the :class:`.Budget` of the monitors; None: no limit.
            The report, which is asked for, is written at any rate.
        on_error: see :class:`.ErrorGuard`.

    Raises:
        InputError: rules, an action or a metric that cannot be read, or notify is no address.
        UnknownNameError: no standard rule has the name that was given.

    Example:
        >>> from lightning_failures.records.rule import Rule
        >>> slow = Rule(kind="own_rule", when=["val_acc < 0.5"], message="{val_acc:.2f}.", name="slow", warmup=10)
        >>> diagnosis = FailureDiagnosis([slow], "reports", metric="max val_acc")
        >>> [rule.name for rule in diagnosis.rules], diagnosis.findings
        (['slow'], [])
    """

    def __init__(
        self,
        rules: RuleSource | None = None,
        report_dir: str | Path | None = None,
        *,
        action: Literal["report", "stop"] = "report",
        metric: str | None = None,
        name: str = "run",
        announce: Announced = "verdict",
        notify: Notify | None = None,
        budget: Budget | float | None = SHARE,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        self.budget = Budget.of(budget)
        self.guard = ErrorGuard(WHERE, on_error, budget=self.budget)
        self.rules = read_rules(rules, WHERE)
        if action not in ("report", "stop"):
            raise InputError(WHERE, "there is no such action", repr(action), "Use 'report' or 'stop'.")
        order = None if metric is None else Order.parse(metric, WHERE)
        self.action = action
        self.metric = None if order is None else ValidationMetric(order.key, order.mode == "min")
        self.report_dir = report_dir
        self.record = RunRecord(name)
        self.streaks = RuleStreaks([rule for rule in self.rules if rule not in standard_rules()])
        webhook = None if notify is None else Webhook(notify, where=WHERE)
        self.announcer = Announcer(announce, webhook, Pictures(WHERE, self.budget))
        self.unconfirmed: list[Finding] = []  #: worth watching, from the last evaluation of a run alone
        self._freshness = Freshness()
        self._began = time.perf_counter()
        self._resumed = False
        self._counted = False  # whether the loggers know of the curve
        self.alone: RunRecord | None = None  #: of the last evaluation by ``trainer.test()`` or ``trainer.validate()``
        self._alone = Freshness()
        self._alone_began = self._began

    @property
    def announce(self) -> Announced:
        """What is printed; see the option of this name."""
        return self.announcer.announce

    @announce.setter
    def announce(self, value: Announced) -> None:
        self.announcer.announce = value

    @property
    def failure(self) -> str | None:
        """Why it stepped aside; None while it diagnoses."""
        return self.guard.failure

    @property
    def history(self) -> list[Finding]:
        """All findings, raised and cleared, in the order in which they were raised."""
        return self.record.findings

    @property
    def findings(self) -> list[Finding]:
        """The findings that stand."""
        return [finding for finding in self.history if finding.standing]

    # -- Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give each monitor with a name of its own the rules of its noun, as they are by then."""
        for monitor in monitors_of(trainer):
            if monitor.name != monitor.noun:
                known = {rule.name for rule in self.rules}
                copies = rules_under_name(self.rules, monitor.noun, monitor.name)
                self.rules = (*self.rules, *(rule for rule in copies if rule.name not in known))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; what one evaluation alone told at the end of an earlier run is open again."""
        self.record.findings, self.unconfirmed, self.record.pictures = self._confirmed(), [], []
        self.announcer.resume(self.record)
        self._began = time.perf_counter()
        self.budget.restart()
        self.announcer.pictures.restart()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is found in the progress bar too, and note where the run comes from."""
        self.announcer.notes.attach(trainer)
        if trainer.is_global_zero:
            with self.guard():
                note_provenance(self.record)
        log_config(trainer.loggers, {"lightning_failures": _set_up(trainer)})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the progress bar as it was, and apply the rules to what the monitors examined at the end."""
        self.announcer.notes.detach()
        if self.guard.failure is None:
            with self.guard():
                self._complete(trainer)
                self._watch_on(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the rules to what this evaluation logged; outside of a ``fit``, say the verdict on it."""
        if trainer.state.fn != "fit":
            self._judge(trainer, "validation")
        elif not trainer.sanity_checking and not self._no_validation(trainer):
            self._evaluated(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged before, where this evaluation is judged alone."""
        self._note(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged before."""
        self._note(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the verdict on the test images."""
        self._judge(trainer, "test")

    def _note(self, trainer: Trainer) -> None:
        if trainer.state.fn != "fit":
            self._alone = Freshness()
            self._alone.look(trainer)
            self._alone_began = time.perf_counter()

    def _judge(self, trainer: Trainer, images: Literal["test", "validation"]) -> None:
        """Say the verdict on one evaluation that belongs to no training, and write its report."""
        if self.guard.failure is not None:
            return
        with self.guard():
            values = self._alone.new_values(trainer)
            now = Evaluation(trainer.current_epoch, trainer.global_step, values)
            self.alone = alone = RunRecord(self.record.name, [now], evaluated=images)
            note_provenance(alone)
            alone.columns = {monitor.name: monitor.noun for monitor in monitors_of(trainer)}
            found = RuleStreaks().judge(self.rules, now)
            alone.findings = [diagnose(finding, alone) for finding in found]
            self._keep_what_is_said(trainer, alone)
            alone.seconds = time.perf_counter() - self._alone_began
            if trainer.is_global_zero and values:
                folder = None if self.report_dir is None else Path(self.report_dir) / images
                report = None if folder is None else self._write(trainer, alone, folder)
                self.announcer.tell_verdict(alone, report)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the rules to what the monitors logged of training batches, where nothing is validated."""
        self.record.no_validation = self._no_validation(trainer)
        if self.record.no_validation:
            self._evaluated(trainer)

    def _no_validation(self, trainer: Trainer) -> str:
        """Why the monitors watch training batches; empty where they do not."""
        return next((monitor.training.why for monitor in monitors_of(trainer) if monitor.training.why), "")

    def _evaluated(self, trainer: Trainer) -> None:
        """Diagnose, and end the run where that is asked for."""
        hopeless = False
        if self.guard.failure is None:
            with self.guard():
                hopeless = self._diagnose(trainer)
        if self.action == "stop" or any(rule.action == "stop" for rule in self.rules):
            self._stop(trainer, hopeless)

    def _diagnose(self, trainer: Trainer) -> bool:
        """Whether something was found that should end the run."""
        self._freshness.look(trainer)
        resumed, self._resumed = self._resumed, False
        last = self.record.evaluations[-1:]
        if resumed and [(e.epoch, e.step) for e in last] == [(trainer.current_epoch, trainer.global_step)]:
            return False  # this evaluation is in the checkpoint that the run went on from
        values = self._freshness.fresh_values(trainer)
        for key in {key for monitor in monitors_of(trainer) for key in monitor.old}:
            values.pop(key, None)
        values.pop(COUNT.key, None)  # of the evaluation before, which was counted after it was looked at
        self.record.columns |= {monitor.name: monitor.noun for monitor in monitors_of(trainer)}
        raised = self.evaluate(Evaluation(trainer.current_epoch, trainer.global_step, values))
        if values and trainer.is_global_zero:
            self.streaks.say_unknown(list(self._freshness.values(trainer)))
        self._keep_what_is_said(trainer, self.record)
        if trainer.is_global_zero:
            self.announcer.tell(trainer, self.record)
        self.announcer.notes.update(self.record)
        self._log_count(trainer, values)
        stopping = {rule.name for rule in self.rules if rule.action == "stop"}
        return any(f.rule in stopping or (self.action == "stop" and f.severity == "failure") for f in raised)

    def _log_count(self, trainer: Trainer, values: Mapping[str, float]) -> None:
        """Log how many findings stand, where something was evaluated."""
        if values:
            if not self._counted:
                define_curves(trainer.loggers, [COUNT.key], curve_axis(trainer))
                self._counted = True
            count = float(sum(finding.severity != "watch" for finding in self.record.standing))
            collects = getattr(trainer, "log", None)  # a loop of one's own sends an evaluation's figures in one piece
            if collects is not None:
                collects({COUNT.key: torch.tensor(count)})
                return
            trainer.callback_metrics[COUNT.key] = torch.tensor(count)
            log_scalars(trainer.loggers, {COUNT.key: count}, logged_step(trainer))

    def _watch_on(self, trainer: Trainer) -> None:
        """Clear what has ended by the last evaluation; say what holds at it, but not at as many as a finding takes."""
        if not self.record.evaluations:
            return
        last = self.record.evaluations[-1]
        self.streaks.end(self.rules, last, self.record.findings)
        self.unconfirmed = self.streaks.close(self.rules, last, self.history)
        if self.unconfirmed:
            self.record.findings = [*self.history, *self.unconfirmed]
            self._explain()
            self.unconfirmed = self.history[-len(self.unconfirmed) :]
        if trainer.is_global_zero:
            self.announcer.tell(trainer, self.record)

    def _confirmed(self) -> list[Finding]:
        """All findings but those of the last evaluation alone, which a run that goes on has yet to confirm."""
        return [finding for finding in self.history if all(finding is not each for each in self.unconfirmed)]

    def _complete(self, trainer: Trainer) -> None:
        """Add to the last evaluation what the monitors examined after it."""
        brought = {key: value for monitor in monitors_of(trainer) for key, value in monitor.completed.items()}
        if not brought or not self.record.evaluations:
            return
        before = self.record.evaluations[-1]
        self.record.evaluations[-1] = after = replace(before, values=before.values | brought)
        self.streaks.complete(self.rules, before, after, self.history)
        self._explain()
        self._keep_what_is_said(trainer, self.record)
        if trainer.is_global_zero:
            self.announcer.tell(trainer, self.record)

    def _stop(self, trainer: Trainer, hopeless: bool) -> None:
        """End the run on all processes where one of them found it hopeless; every process must call it."""
        if trainer.strategy.reduce_boolean_decision(hopeless, all=False):
            trainer.should_stop = True
            if trainer.is_global_zero:
                self.announcer.tell_stop(trainer, self.record)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the verdict and write the report."""
        with self.guard():
            self._close(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what is known of a run that was broken off."""
        self.announcer.notes.detach()
        with self.guard():
            self._close(trainer)

    @property
    def state_key(self) -> str:
        """One a name: two diagnoses of one run need two names."""
        return state_key(self, self.record.name)

    def state_dict(self) -> dict[str, Any]:
        """Record and streaks; plain containers, which a resume loads with ``weights_only=True``."""
        record = replace(self.record, findings=self._confirmed())
        return {"record": record.to_dict(), "streaks": dict(self.streaks.lengths)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.record = RunRecord.from_dict(state_dict["record"])
        self.streaks.lengths = dict(state_dict["streaks"])
        self.announcer.resume(self.record)
        self._resumed = True

    # -- rules

    def evaluate(self, evaluation: Evaluation) -> list[Finding]:
        """Apply every rule to one evaluation; returns the findings that it raised or made more severe.

        Args:
            evaluation: epoch, step and the values logged at it.
        """
        self.record.evaluations.append(evaluation)
        before = [SEVERITIES.index(finding.severity) for finding in self.history]
        self.streaks.apply(self.rules, evaluation, self.history)
        self._explain()
        risen = [f for f, was in zip(self.history, before, strict=False) if SEVERITIES.index(f.severity) > was]
        return [*risen, *self.history[len(before) :]]

    def _explain(self) -> None:
        """Say of each finding its cause and its lead, as far as they are known by now."""
        metric = self.metric or (None if self.record.no_validation else find_metric(self.record.last_values()))
        advice = {rule.name: rule.advice for rule in self.rules}
        found = [
            diagnose(each, self.record, advice.get(each.rule, each.advice)) if each.standing else each
            for each in self.history
        ]
        self.record.findings = [with_lead(finding, self.record, metric) for finding in found]

    def _keep_what_is_said(self, trainer: Trainer, record: RunRecord) -> None:
        """Why figures are undefined, what cannot be watched, which monitors failed, and how long all of them took."""
        for monitor in monitors_of(trainer):
            record.undefined |= {monitor.key(key): why for key, why in monitor.undefined.items()}
            if monitor.failure is not None:
                _report_failure(monitor, trainer, record)
        _keep_not_watched(trainer, record)
        self._keep_cost(trainer, record)

    def _keep_cost(self, trainer: Trainer, record: RunRecord) -> None:
        """What the monitors and the diagnosis took so far, and what they may take."""
        if any(monitor.replayed for monitor in monitors_of(trainer)):
            return  # a replay has no training that it could be held against
        budgets = list({id(each): each for each in (self.budget, *(m.budget for m in monitors_of(trainer)))}.values())
        by_monitor = Counter[str]()
        for each in budgets:
            by_monitor.update(each.by_monitor())
        record.seconds_by_monitor = dict(by_monitor.most_common())
        record.monitor_seconds = sum(by_monitor.values())
        shares = [each.share for each in budgets]
        record.budget = shares[0] if len(shares) == 1 and math.isfinite(shares[0]) else None

    def _close(self, trainer: Trainer) -> None:
        self.record.seconds = time.perf_counter() - self._began
        self._keep_cost(trainer, self.record)
        _keep_not_watched(trainer, self.record)
        if not trainer.is_global_zero or not self.record.evaluations:
            return
        said = f"{headline(self.record, COLUMNS)} {tally(self.record)}"
        found = [title(finding) for finding in self.record.standing]
        log_summary(trainer.loggers, dict(zip(SUMMARY, (said, "; ".join(found)), strict=True)))
        self.announcer.draw_last(trainer, self.record)
        flush(trainer.loggers, last=True)
        self._keep_cost(trainer, self.record)
        report = None if self.report_dir is None else self._write(trainer, self.record, self.report_dir)
        self.announcer.tell_verdict(self.record, report)
        self.announcer.close()

    def _write(self, trainer: Trainer, record: RunRecord, folder: str | Path) -> Path:
        """The report, with pictures of what was found."""
        record.pictures = draw_evidence(record.standing, monitors_of(trainer))
        return write_report(folder, [record], COLUMNS)


def _set_up(trainer: Trainer) -> dict[str, Any]:
    """What stands beside the options of a run: the version, the monitors, what each watches, and how much is logged."""
    monitors = monitors_of(trainer)
    return {
        "version": __version__,
        "monitors": {monitor.title: {"watches": monitor.watches, "detail": monitor.detail} for monitor in monitors},
    }


def _keep_not_watched(trainer: Trainer, record: RunRecord) -> None:
    """What the monitors say by now that they cannot watch."""
    monitors = monitors_of(trainer)
    record.not_watched = {what: why for each in monitors for what, why in each.not_watched.items()}


def _report_failure(monitor: Monitor, trainer: Trainer, record: RunRecord) -> None:
    name = monitor.title
    if any(finding.kind == MONITOR_ERROR and finding.subject == name for finding in record.findings):
        return
    record.findings.append(
        Finding(
            kind=MONITOR_ERROR,
            subject=name,
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            evidence={"cause": monitor.failure},
            message=str(monitor.failure),
            advice="The training is not touched by it. Mend the cause, or leave this monitor out.",
        )
    )
