"""How much evidence each rule has, evaluation by evaluation, and the findings that it raises and clears by it."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lightning_failures.errors import FailuresWarning, few
from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.keys import match_key, subject_in_words, unknown_key
from lightning_failures.records.kind import COURSES
from lightning_failures.records.rule import Rule
from lightning_failures.records.run_record import Evaluation

__all__ = ["RuleStreaks"]


class RuleStreaks:
    """Counts for each rule and subject at how many evaluations in a row it held, or ended while a finding stands.

    Of each worse severity of a rule it counts the same: above 0 how often in a row its conditions held, below 0 how
    often they failed.

    What keeps a rule from speaking is said once: evidence that its message names and nobody logged, and keys that
    nobody logs at all.

    Args:
        own: the rules that the user wrote or changed, whose keys are looked for among those that are logged.
    """

    def __init__(self, own: Sequence[Rule] = ()) -> None:
        self.own = own
        self.lengths: dict[str, int] = {}
        self._lacking: set[str] = set()
        self._unknown_said = False

    def apply(self, rules: Iterable[Rule], evaluation: Evaluation, history: list[Finding]) -> None:
        """Apply every rule to one evaluation.

        Args:
            rules: in the order in which they raise findings.
            evaluation: epoch, step and the values logged at it.
            history: all findings so far; new ones are added; those that end are cleared, those that stand get their
                latest message, and their severity where that is another one now, in their place.
        """
        for rule in rules:
            for subject in rule.subjects(evaluation.values):
                if rule.speaks(evaluation.values, subject):
                    self._apply(rule, subject, evaluation, history)
                    _renew(rule, subject, evaluation, history)

    def complete(self, rules: Iterable[Rule], before: Evaluation, after: Evaluation, history: list[Finding]) -> None:
        """Apply the rules that could not speak at an evaluation to the same one with figures that were added to it.

        A rule that spoke before does not count the evaluation twice; what stands is said with the new figures.

        Args:
            rules: in the order in which they raise findings.
            before: the evaluation as the rules were applied to it.
            after: the same, completed.
            history: see :meth:`apply`.
        """
        for rule in rules:
            for subject in rule.subjects(after.values):
                if rule.speaks(after.values, subject):
                    if not rule.speaks(before.values, subject):
                        self._apply(rule, subject, after, history)
                    _renew(rule, subject, after, history)

    def close(self, rules: Iterable[Rule], evaluation: Evaluation, history: Sequence[Finding]) -> list[Finding]:
        """What holds at the last evaluation of a run and would have had to hold at more: it is worth watching.

        A case that chance does not give keeps its severity.

        Of the user's own rules none: whoever says how many evaluations wants no fewer.

        Args:
            rules: in the order in which they raise findings.
            evaluation: the last one.
            history: all findings so far; none of them is touched.
        """
        found: list[Finding] = []
        standing = {(finding.rule, finding.subject) for finding in history if finding.standing}
        for rule in rules:
            once = replace(rule, persistence=1, plain_when=())
            for subject in rule.subjects(evaluation.values) if rule not in self.own else ():
                known = (rule.name, subject_in_words(subject)) in standing
                if not known and rule.speaks(evaluation.values, subject):
                    alone: list[Finding] = []
                    RuleStreaks()._apply(once, subject, evaluation, alone)
                    sure = rule.is_sure_at_the_last(evaluation.values, subject)
                    found += alone if sure else [replace(finding, severity="watch") for finding in alone]
        return found

    def end(self, rules: Iterable[Rule], evaluation: Evaluation, history: list[Finding]) -> None:
        """Clear what has ended by the last evaluation of a run, which no later one will confirm.

        Of the user's own rules nothing: whoever says how many evaluations wants no fewer.

        Args:
            rules: in the order in which they raise findings.
            evaluation: the last one.
            history: all findings so far; those that end are cleared in their place.
        """
        known = {rule.name: rule for rule in rules if rule not in self.own}
        for place, finding in enumerate(history):
            rule = known.get(finding.rule)
            if rule is None or not finding.standing or finding.epoch == evaluation.epoch:
                continue
            for subject in rule.subjects(evaluation.values):
                mine = subject_in_words(subject) == finding.subject
                if mine and rule.speaks(evaluation.values, subject) and rule.ends(evaluation.values, subject):
                    history[place] = finding.with_cleared(evaluation.epoch)

    def judge(self, rules: Iterable[Rule], evaluation: Evaluation) -> list[Finding]:
        """The findings of one evaluation alone, as of ``trainer.test()``, where no other one can confirm it.

        What needs a course is left out, and so is every warm-up. A rule that would take several evaluations is worth
        watching where it holds, and of its own severity where the case is plain.

        Args:
            rules: in the order in which they raise findings.
            evaluation: epoch, step and the values logged at it.
        """
        found: list[Finding] = []
        for rule in rules:
            once = replace(rule, warmup=0, warmup_steps=0, persistence=1, plain_when=())
            for subject in rule.subjects(evaluation.values) if rule.kind not in COURSES else ():
                if rule.speaks(evaluation.values, subject):
                    alone: list[Finding] = []
                    self._apply(once, subject, evaluation, alone)
                    sure = not rule.plain_conditions or rule.is_sure_at_the_last(evaluation.values, subject)
                    found += alone if sure else [replace(finding, severity="watch") for finding in alone]
        return found

    def _apply(self, rule: Rule, subject: str, evaluation: Evaluation, history: list[Finding]) -> None:
        values = evaluation.values
        said = rule.name, subject_in_words(subject)
        at = next((i for i, f in enumerate(history) if f.standing and (f.rule, f.subject) == said), None)
        counts = rule.holds(values, subject) if at is None else rule.ends(values, subject)
        name = f"{rule.name}:{subject}"
        counted = rule.counts(evaluation.epoch, evaluation.step)
        severity = self._severity(rule, subject, values, history[at].severity if at is not None else "", counted)
        counts = counts and counted
        self.lengths[name] = self.lengths.get(name, 0) + 1 if counts else 0
        needed = rule.persistence if at is not None else rule.needs(values, subject)
        if self.lengths[name] < needed:
            if at is not None and severity != history[at].severity:
                criterion = rule.criterion(values, subject, severity)
                history[at] = replace(history[at], severity=severity, criterion=criterion)
            return
        if at is not None:
            self.lengths[name] = 0
            history[at] = history[at].with_cleared(evaluation.epoch)
            return
        if lacking := rule.lacking(values, subject):
            self._say_lacking(rule, lacking)
            return
        self.lengths[name] = 0
        figures = rule.figures(values, subject)
        history.append(
            Finding(
                kind=rule.kind,
                subject=subject_in_words(subject),
                epoch=evaluation.epoch,
                step=evaluation.step,
                severity=severity,
                evidence=figures,
                message=rule.sentence(figures, subject),
                advice=rule.advice,
                rule=rule.name,
                criterion=rule.criterion(values, subject, severity),
            )
        )

    def _severity(self, rule: Rule, subject: str, values: Mapping[str, float], now: str, counted: bool) -> str:
        """The worst severity whose conditions held long enough, or that a finding has and they failed less long."""
        found, needed = rule.severity, rule.needs(values, subject)
        for severity in rule.worse:
            name = f"{severity}:{rule.name}:{subject}"
            length = self.lengths.get(name, 0)
            holds = rule.holds_severely(severity, values, subject)
            length = max(length, 0) + 1 if holds else min(length, 0) - 1
            self.lengths[name] = length = length if counted else 0
            has = bool(now) and SEVERITIES.index(now) >= SEVERITIES.index(severity)
            if length >= needed or (has and length > -rule.persistence):
                found = severity
        return found

    def say_unknown(self, known: Sequence[str]) -> None:
        """Say once, at the first call, of each of the user's rules which key of it nobody logged.

        Args:
            known: every key that was logged.
        """
        if self._unknown_said:
            return
        self._unknown_said = True
        for rule in self.own:
            missing = [key for key in rule.keys if all(match_key(key, each) is None for each in known)]
            if missing:
                more = f" Nor were {len(missing) - 1} more of its keys." if missing[1:] else ""
                text = f"Rule({rule.name}): {unknown_key(missing[0], known)}{more}"
                warnings.warn(text, FailuresWarning, stacklevel=2)

    def _say_lacking(self, rule: Rule, keys: Sequence[str]) -> None:
        if rule.name not in self._lacking:
            self._lacking.add(rule.name)
            warnings.warn(
                f"Rule({rule.name}): it holds, but its evidence was not logged, so nothing is raised; "
                f"missing {few(keys)}. Log it, or leave it out of the message.",
                FailuresWarning,
                stacklevel=2,
            )


def _renew(rule: Rule, subject: str, evaluation: Evaluation, history: list[Finding]) -> None:
    """Give the finding of a rule that stands its message with the figures of this evaluation."""
    values, said = evaluation.values, (rule.name, subject_in_words(subject))
    for place, finding in enumerate(history):
        if finding.standing and (finding.rule, finding.subject) == said and not rule.lacking(values, subject):
            latest = rule.sentence(rule.figures(values, subject), subject)
            history[place] = replace(finding, latest="" if latest == finding.message else latest)
