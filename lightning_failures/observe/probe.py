"""The probe: takes observations from a LightningModule that nobody changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, InputError, UnknownNameError, few
from lightning_failures.observe.batch_fields import (
    Field,
    discover_inputs,
    discover_targets,
    read_field,
    tensors_of,
)
from lightning_failures.observe.discovery import (
    Source,
    candidate_modules,
    feeding,
    is_closed,
    is_loss,
    no_logits,
    returned_scores,
)
from lightning_failures.observe.entry import Entry, Runnable
from lightning_failures.observe.hooks import Call, CallRecorder, first_tensor, is_between_steps
from lightning_failures.observe.input_view import InputView
from lightning_failures.observe.layers import PENULTIMATE, Pooling, find_layers, pool, pooling_of
from lightning_failures.observe.logits import find_logits
from lightning_failures.observe.loss_facts import StepTensors, targets_of_losses
from lightning_failures.observe.loss_listener import LossListener, why_deaf
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.task import (
    NO_LABEL,
    Kind,
    Task,
    check_kind,
    errors_of_answers,
    known_labels,
    label_answers,
    logits_of_scores,
)
from lightning_failures.observe.understanding import Named, Understanding, scaled, understand

__all__ = ["Probe"]


class Probe:
    """Finds inputs, targets, task, logits and features of a LightningModule by itself, or where it is told.

    It listens to what the loss of a step is given, see :class:`.LossListener`: that says the task, which field of the
    batch holds the labels and which submodule gives the scores. A validation step that computes no loss shows less;
    then the first training batch decides. Logits that the step returns under a usual name come first. Where no loss was
    heard, the scores are those of the last linear or convolutional layer, if the loss was computed from them and the
    labels fit. What was found is said once in the log, and :meth:`describe` tells it as a table. Several monitors may
    share one probe. One score is seen as two columns, see :func:`.logits_of_scores`.

    Args:
        inputs: path or callable into the batch; None: found by what the submodules take, by name and by shape.
        targets: path or callable into the batch, or into a dict that the step returns; None: found.
        logits: name of the submodule that gives them, or a field of what the step returns, or a callable that takes it;
            None: found.
        layers: names and globs of submodules whose outputs are kept as features, see
            :func:`.find_layers`; None: the input of the head, of an autoencoder its narrowest layer, of a module that
            compares views the encoder that is trained.
        task: what the module is trained for, one of :data:`.Kind`; None: found.
        ignore_index: label that counts nowhere; None: the one that the loss leaves out.
        channel_axis: axis of the channels in the inputs; None: found, see :meth:`.InputView.of`.
        where: the public name to put into an error.

    Raises:
        UnknownNameError: there is no such task.

    Example:
        >>> images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 2, 1, 0])
        >>> module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        >>> probe = Probe()
        >>> probe.attach(module, user=module)
        >>> probe.new_batch()
        >>> loss = nn.functional.cross_entropy(module(images), labels)
        >>> seen = probe.observe(module, loss, (images, labels))
        >>> seen.logits.shape, seen.targets.equal(labels), probe.task.words
        (torch.Size([4, 3]), True, 'classification')
        >>> probe.detach(module)
    """

    def __init__(
        self,
        *,
        inputs: Field | None = None,
        targets: Field | None = None,
        logits: Field | None = None,
        layers: str | Sequence[str] | None = None,
        task: Kind | None = None,
        ignore_index: int | None = None,
        channel_axis: int | None = None,
        where: str = "Probe",
    ) -> None:
        check_kind(task, f"{where}(task=...)")
        self.inputs, self.targets, self.logits = inputs, targets, logits
        self.named = Named(targets, logits, task, ignore_index)
        self.channel_axis = channel_axis
        self.layers: tuple[str, ...] = ()
        self._where = self._layers_where = where
        self.listen_also(layers or (), where)
        self.entry: Entry | None = None  #: None: the module's own ``forward``
        self.found: str = ""
        self.settled = False  #: whether what was found stands; else the first training batch decides
        self.learned = False  #: whether a training batch was listened to
        self.watched: dict[str, str] = {}  #: what monitors watch, or why not, by their names
        self._understood = Understanding(Task())
        self._view: InputView | None = None
        self._paths: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._modules: dict[str, nn.Module] = {}
        self._named: dict[str, bool] = {}
        self._maps = False
        self.hidden: str | None = None  #: why there are no features, where they lie within what is compiled
        self._poolings: dict[str, Pooling] = {}
        self._recorder: CallRecorder | None = None
        self._users: set[int] = set()
        self._seen: tuple[Any, Observation] | None = None
        self._listener, self._deaf = LossListener(), True
        self._feeds: set[int] | None = None

    # -- life of the hooks

    def attach(self, module: nn.Module, user: object) -> None:
        """Begin to listen; hooks stay on until the last user calls :meth:`detach`."""
        self._users.add(id(user))
        if self._recorder is None:
            self._record(module)
            self._deaf = self.settled or why_deaf(module) is not None
            self._listener.between_steps = partial(is_between_steps, module)

    def detach(self, user: object) -> None:
        """Stop listening; every hook comes off when nobody listens any more."""
        self._users.discard(id(user))
        if not self._users:
            self._remove()

    @property
    def discovered(self) -> bool:
        """Whether a batch has shown where logits and features are."""
        return bool(self.found)

    @property
    def heard(self) -> bool:
        """Whether the last step called a layer that carries a hook, or none does that it could call."""
        calls = [] if self._recorder is None else self._recorder.calls
        return self._seen is not None or not self._modules or any(call.name in self._modules for call in calls)

    def new_batch(self) -> None:
        """Forget the calls of the last step, and listen to the losses of the next one until all is settled."""
        self._seen, self._feeds = None, None
        if self._recorder is not None:
            self._recorder.calls.clear()
            if not self.settled and not self._deaf:
                self._listener.start()

    def _stop_listening(self) -> None:
        LossListener.stop_all()  # those of other probes too, which would hear what is done next

    def before_backward(self, loss: Tensor) -> None:
        """Stop listening to losses, and look which submodules a training step's loss was computed from.

        Args:
            loss: of the step; ().
        """
        self._stop_listening()
        if self._recorder is not None and not self.settled and self._feeds is None:
            self._feeds = feeding(loss, self._recorder.calls)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing inside: for forward passes of our own."""
        if self._recorder is None:
            yield
        else:
            with self._recorder.paused():
                yield

    # -- one batch

    def observe(self, module: nn.Module, outputs: Any, batch: Any, *, final: bool = True) -> Observation:
        """What the step that just ended showed.

        Args:
            module: the user's LightningModule.
            outputs: what its step returned.
            batch: the batch, as the step got it.
            final: whether what this step shows must do: no training step follows that may show more.
        """
        self._stop_listening()
        if self._seen is not None and self._seen[0] is batch:
            return self._seen[1]
        observation = self._read(module, outputs, batch, final)
        self._seen = (batch, observation)
        return observation

    def observe_features(self, batch: Any) -> Observation:
        """Inputs, targets and features of a step whose logits do not matter, once the sources are settled."""
        if self._seen is not None and self._seen[0] is batch:
            return self._seen[1]
        seen, calls = self.read_batch(batch), self._calls
        if seen.empty:
            return seen
        features = self._read_features(calls, seen.images or _images_of(calls))
        return replace(seen, features=features)

    def read_batch(self, batch: Any) -> Observation:
        """Inputs and targets only, without any forward pass having been listened to."""
        inputs = self._read_inputs(batch)
        images = len(inputs) if inputs is not None else 0
        return Observation(batch, inputs=self._viewed(inputs), targets=self._read_targets(None, batch, images))

    def _read(self, module: nn.Module, outputs: Any, batch: Any, final: bool) -> Observation:
        calls = self._calls
        if not self.settled:
            self._discover(outputs, batch, calls, final)
        inputs = self._read_inputs(batch)
        images = len(inputs) if inputs is not None else _images_of(calls)
        if (inputs is not None and not images) or not self.discovered:  # no rows to look at, or nothing known yet
            targets = self._read_targets(outputs, batch, images)
            return Observation(batch, self._viewed(inputs), targets)
        targets = self._read_targets(outputs, batch, images)
        scores = self._read_scores(outputs, calls, images)
        logits = None if scores is None or not self.task.classifies else logits_of_scores(scores, self.task)
        self._check_lengths(targets, logits)
        answers = self._read_answers(batch, scores)
        errors = self._read_errors(answers, scores, targets, logits)
        several = None
        if scores is not None and answers is not None and self.task.kind == "multilabel":
            several = label_answers(scores, answers, self.task)
        features = self._read_features(calls, images)
        observation = Observation(batch, self._viewed(inputs), targets, logits, features, None, errors, several)
        if not self._shapes:
            self.hidden = None if observation.features else self._why_hidden()
            self._tell(observation, scores)
        if self.settled:
            self._relisten(module)
        return observation

    @property
    def _calls(self) -> list[Call]:
        """Of the last step; raises what went wrong in a hook, where it could not be raised."""
        error = self._listener.error or (None if self._recorder is None else self._recorder.error)
        if error is not None:
            raise error
        return [] if self._recorder is None else self._recorder.calls

    # -- what the module is

    @property
    def task(self) -> Task:
        """What the module is trained for; unknown before a batch has shown it."""
        return self._understood.task

    @property
    def classes(self) -> int | None:
        """Number of classes whose logits are read; None: there are none."""
        return self.task.classes if self.task.classifies and self._understood.source is not None else None

    @property
    def labels(self) -> int | None:
        """Number of labels whose scores are read, where an image has several; None: it has not, or they are not."""
        several = self.task.kind == "multilabel" and self._understood.source is not None
        return self.task.classes if several else None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the layers whose features are read."""
        return tuple(name for name in self._shapes if not name.startswith(" "))

    @property
    def head(self) -> str | None:
        """Name of the head, whose input is the penultimate layer, where one was found."""
        return self._understood.head

    @property
    def sure(self) -> bool:
        """Whether the scores were named, returned or heard, and not found by shapes alone."""
        return not self.settled or self._understood.sure

    def doubt(self, why: str) -> None:
        """Read scores no more, since they are not what they seemed.

        Args:
            why: in one clause.
        """
        self._understood = replace(self._understood, task=Task("unknown", why=why), source=None, head=None, sure=True)

    def _discover(self, outputs: Any, batch: Any, calls: Sequence[Call], final: bool) -> None:
        """Understand one step; keep what an earlier one showed where this one shows nothing."""
        leaves = list(tensors_of(batch))
        path = self.inputs
        if path is None:
            labels = targets_of_losses(self._listener, leaves)
            path = discover_inputs(batch, _taken(calls), labels)
        value = None if path is None else read_field(batch, path, f"{self._where}(inputs=...)")
        inputs = first_tensor(value)
        images = len(inputs) if inputs is not None and inputs.ndim else _images_of(calls)
        if not images:
            return
        step = StepTensors(self._listener, calls, leaves, list(tensors_of(outputs)), inputs, images)
        guess = final and not self._understood.blocked
        understood = understand(step, outputs, batch, self._modules, self.named, self._feeds, guess, self._where)
        self._listener.forget()
        if understood is None:
            self.settled = final
            return
        sure = understood.sure or understood.task.kind != "unknown"
        self.settled = understood.sure or (final and (sure or self.learned or self._feeds is None))
        self._understood, self._paths, self._shapes = understood, {"inputs": path, "targets": understood.target}, {}
        self.entry = understood.entry
        self._maps = self.task.pixels
        self._settle_layers(calls, images)
        self.found = f"lightning-failures found {self.task}"

    def _tell(self, seen: Observation, scores: Tensor | None) -> None:
        """Keep what was found in words, and say it in the log once it stands."""
        self._shapes = {name: tuple(value.shape) for name, value in seen.features.items()}
        for name, tensor in (("inputs", seen.inputs), ("scores", scores if seen.logits is None else seen.logits)):
            if tensor is not None:
                self._shapes[f" {name}"] = tuple(tensor.shape)
        self.found = "lightning-failures found " + ", ".join(f"{name} = {what}" for name, what in self._rows())
        if self.settled:
            rank_zero_info(self.found)  # where Lightning says what it found, too

    def _rows(self) -> list[tuple[str, str]]:
        """What was found: name -> words."""

        def at(path: Any) -> str:
            return "a callable" if callable(path) else ("batch" if path == "" else f"batch[{path!r}]")

        shapes, understood = self._shapes, self._understood
        inputs, targets = (
            self._paths.get("inputs"),
            self.targets if self.targets is not None else self._paths["targets"],
        )
        rows = [("inputs", f"{at(inputs)} {shapes[' inputs']}" if " inputs" in shapes else "none")]
        rows.append(("targets", "none" if targets is None else at(targets)))
        rows.append(("task", str(self.task)))
        name = "logits" if self.task.classifies else "scores"
        rows.append((name, f"{understood.source} {shapes[' scores']}" if " scores" in shapes else "none"))
        features = [f"{name} {shapes[name]}" for name in self.features]
        rows.append(("features", " and ".join(features) or "none"))
        return rows

    def describe(self) -> str:
        """What was understood of the module, as a table: a line each of inputs, targets, task, logits and features.

        The lines of the monitors that share the probe say what each watches, or why it does not. After
        ``Trainer(fast_dev_run=True).fit(...)`` it tells what a whole run will watch.

        Example:
            >>> print(Probe().describe())
            nothing was understood yet: no batch has been seen
        """
        if not self._shapes:
            return "nothing was understood yet: no batch has been seen"
        rows = [*self._rows(), *self.watched.items()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {what}" for name, what in rows)

    # -- inputs and targets

    def _read_inputs(self, batch: Any) -> Tensor | None:
        """The inputs as the batch holds them."""
        if self.inputs is not None:
            return first_tensor(read_field(batch, self.inputs, f"{self._where}(inputs=...)"))
        leaves = dict(tensors_of(batch))
        path = self._paths.get("inputs")
        if path not in leaves and (path is not None or not self._paths):  # batches of training are built otherwise
            path = discover_inputs(batch)
        return None if path is None else leaves[path].detach()

    def _viewed(self, inputs: Tensor | None) -> Tensor | None:
        if inputs is None or inputs.ndim < 2:
            return inputs
        if self._view is None:
            self._view = InputView.of(tuple(inputs.shape), self.channel_axis, f"{self._where}(channel_axis=...)")
        return self._view.read(inputs)

    def _read_targets(self, outputs: Any, batch: Any, images: int) -> Tensor | None:
        """Labels (n) or (n h w), -100 where there is none; None where there are no labels of classes."""
        where = f"{self._where}(targets=...)"
        if self.discovered and not self.task.classifies:
            return None
        if self.targets is not None:
            try:
                value = read_field(batch, self.targets, where)
            except UnknownNameError:
                if not isinstance(outputs, Mapping) or self.targets not in outputs:
                    raise
                value = outputs[self.targets]
            return known_labels(value.detach(), self.task, where) if isinstance(value, Tensor) else None
        leaves = dict(tensors_of(batch))
        path = self._paths.get("targets")
        if path not in leaves and (self._understood.guess or not self.discovered or path is not None):
            path = discover_targets(batch, images, self._paths.get("inputs"), self.task)
        if path is None:
            return None
        try:
            return known_labels(leaves[path].detach(), self.task, where)
        except InputError:  # such as mixed ones, in training alone
            return None

    def _check_lengths(self, targets: Tensor | None, logits: Tensor | None) -> None:
        if targets is not None and logits is not None and len(targets) != len(logits):
            raise InputError(
                self._where,
                "targets and logits differ in length",
                f"targets {tuple(targets.shape)}, logits {tuple(logits.shape)}",
                "Name the fields that belong together: targets='label', logits='net.head'.",
            )

    # -- scores and features

    def _read_scores(self, outputs: Any, calls: Sequence[Call], images: int) -> Tensor | None:
        source, task = self._understood.source, self.task
        named = self.logits is not None  # so that their absence is an error
        if source is None or (not named and task.kind in ("embedding", "unknown")):
            return None
        if self.logits is None:
            source = self._returned(source, outputs, images)
        if source.layer is None:
            found = find_logits(read_field(outputs, source.field, f"{self._where}(logits=...)"))
            return None if found is None else found.detach()
        return self._only_call(source.layer, calls).logits

    def _returned(self, source: Source, outputs: Any, images: int) -> Source:
        """The field of this step's output that holds the scores, where there is one: steps need not return the same."""
        understood = self._understood
        if source.layer is None:
            gone = str(source.field) not in dict(tensors_of(outputs)) and source.field != ""
            return Source(layer=understood.layer) if gone and understood.layer is not None else source
        returned = returned_scores(outputs, images)
        value = None if returned is None else read_field(outputs, returned.field)
        if returned is None or value is None or self.task.kind == "regression" or not understood.fits(value):
            return source
        layer, task = source.layer, scaled(self.task, value)  # it may return probabilities
        self._understood = replace(understood, source=returned, layer=layer, task=task)
        return returned

    def _read_errors(
        self, answers: Tensor | None, scores: Tensor | None, targets: Tensor | None, logits: Tensor | None
    ) -> Tensor | None:
        """Error of each image, where it is no single class that is right or wrong; (n), float32."""
        task = self.task
        if task.pixels and logits is not None and targets is not None and logits.shape[2:] == targets.shape[1:]:
            known = targets != NO_LABEL
            wrong = ((logits.argmax(1) != targets) & known).flatten(1).sum(1)
            return wrong / known.flatten(1).sum(1)
        return None if answers is None or scores is None else errors_of_answers(scores, answers, task)

    def _read_answers(self, batch: Any, scores: Tensor | None) -> Tensor | None:
        """What the scores of each image are held against where they are of no class: numbers, or several labels."""
        if self.task.kind not in ("regression", "multilabel") or scores is None:
            return None
        answers = dict(tensors_of(batch)).get(str(self._paths.get("targets")))
        return None if answers is None else answers.detach()

    def _read_features(self, calls: Sequence[Call], images: int) -> dict[str, Tensor]:
        features = {name: self._views(name, calls, images) for name in self._named if name != PENULTIMATE}
        named = bool(self.layers)
        if not named and self._understood.encoder is not None:
            name = self._understood.encoder
            features[name] = self._views(name, calls, images)
        head = self.head if not named or PENULTIMATE in self._named else None
        if PENULTIMATE in self._named and head is None and self._understood.layer is not None:
            head = self._understood.layer  # that was asked for, so that its absence is an error
        if head is not None:
            call = self._only_call(head, calls)
            if call.input is not None:
                how: Pooling = "none" if self._maps else "mean"
                features[PENULTIMATE] = pool(call.input, images, PENULTIMATE, how, self._where)
        return features

    def _views(self, name: str, calls: Sequence[Call], images: int) -> Tensor:
        """Rows of a layer; those of its second call in the step, on another view, come after those of the first."""
        outputs = [call.output for call in calls if call.name == name and call.output is not None]
        if not outputs:
            raise self._not_called_once(name, calls, self._layers_where)
        pooling = self._poolings.get(name, "mean")
        how: Pooling = "none" if self._maps and pooling == "mean" else pooling
        rows = [pool(output, images, name, how, f"{self._layers_where}(layers=...)") for output in outputs]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _settle_layers(self, calls: Sequence[Call], images: int) -> None:
        """Keep of what a glob found only what the step calls, and what gives rows."""
        for name, exact in list(self._named.items()):
            if not exact:
                try:
                    self._views(name, calls, images)
                except (DiscoveryError, InputError):
                    del self._named[name]

    def _only_call(self, name: str, calls: Sequence[Call]) -> Call:
        mine = [call for call in calls if call.name == name]
        if len(mine) != 1:
            raise self._not_called_once(name, calls, self._where)
        return mine[0]

    def _not_called_once(self, name: str, calls: Sequence[Call], where: str) -> DiscoveryError:
        return DiscoveryError(
            where,
            f"the layer {name!r} was called {sum(call.name == name for call in calls)} times in one step",
            f"calls of {few(dict.fromkeys(call.name for call in calls)) or 'no layer with a hook'}",
            "Name a layer that is called once, or return the logits from the step and name their field: "
            "logits='logits'.",
        )

    # -- what to listen to

    def _record(self, module: nn.Module) -> None:
        self._modules = self._listen_to(module)
        whole = {} if self.settled else {"": module}  # the module itself, for the way in
        self._recorder = CallRecorder({**whole, **self._modules}, whole=not self.settled, steps_of=module)

    def _listen_to(self, module: nn.Module) -> dict[str, nn.Module]:
        modules = candidate_modules(module)
        if not self.discovered:
            self._refuse_hidden(module, modules)
            layers = {name: child for name, child in modules.items() if not is_loss(child)}
            self._named = find_layers(layers, self.layers, f"{self._layers_where}(layers=...)")
            self._poolings = {name: pooling_of({"": module, **modules}, name) for name in modules}
        if not self.settled:
            return modules
        understood = self._understood
        wanted = {*self._named, understood.layer, understood.encoder, self.head}
        wanted |= {None if understood.source is None else understood.source.layer}
        return {name: child for name, child in modules.items() if name in wanted}

    def _refuse_hidden(self, module: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        """Refuse layers that are named and lie within what is compiled."""
        known = dict(module.named_modules())
        hidden = [name for name in self.layers if name in known and name not in modules]
        if hidden:
            raise DiscoveryError(
                f"{self._layers_where}(layers=...)",
                "layers lie within a module that is compiled, where nothing can listen",
                few(map(repr, hidden)),
                "Name others, or compile a part of the module that does not hold them.",
            )

    def _why_hidden(self) -> str | None:
        """Why features are not seen, where compilation hides them."""
        closed = [name for name, child in self._modules.items() if is_closed(child)]
        if not closed:
            return None
        return (
            f"{closed[0] or 'the module'} is compiled, and nothing can listen within; "
            "compile the layers before the head alone, as in self.body = torch.compile(self.body)"
        )

    def _relisten(self, module: nn.Module) -> None:
        """Once all is settled, only the layers that are needed carry a hook."""
        if self._recorder is not None and self._recorder.whole:
            self._recorder.remove()
            self._record(module)

    def _remove(self) -> None:
        self._seen = None
        self._listener.stop()
        self._listener.forget()
        if self._recorder is not None:
            self._recorder.remove()
            self._recorder = None

    def runnable(self, module: nn.Module) -> Runnable:
        """The module as a function from inputs, as an observation holds them, to its logits.

        Args:
            module: the user's LightningModule.
        """
        task, known = self.task, self.entry is not None

        def logits(scores: Tensor) -> Tensor:
            # what the step returned may be probabilities of what its forward gives
            return logits_of_scores(scores, task if known or not len(scores) else scaled(task, scores))

        return Runnable(module, self.entry, self._view or InputView(), logits)

    def require_logits(self, seen: Observation, where: str) -> Tensor:
        """The logits of a batch, or the error that says what to name."""
        if seen.logits is None:
            raise self.no_logits(where)
        return seen.logits

    def no_logits(self, where: str) -> DiscoveryError:
        """The error for a module in which no logits were found."""
        return no_logits(where, self._understood.called, self.task.why)

    def listen_also(self, layers: str | Sequence[str], where: str) -> None:
        """Keep the outputs of further submodules as features.

        Args:
            layers: their names and globs.
            where: the public name of who asks for them, to put into an error.
        """
        self._layers_where = where
        layers = (layers,) if isinstance(layers, str) else layers
        self.layers = tuple(dict.fromkeys((*self.layers, *layers)))


def _taken(calls: Sequence[Call]) -> list[Tensor]:
    """What layers other than losses were called with, but for what lies in a dict: a layer may take any part of it."""
    layers = [call for call in calls if call.output is None or call.output.ndim]
    return [value for call in layers for value in call.arguments.values() if isinstance(value, Tensor)]


def _images_of(calls: Sequence[Call]) -> int:
    return next((len(call.input) for call in calls if call.input is not None and call.input.ndim), 0)
