"""The probe: takes observations from a LightningModule that nobody changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, InputError, UnknownNameError, few
from lightning_failures.observe.batch_fields import Field, discover_inputs, discover_targets, labels_of, read_field
from lightning_failures.observe.discovery import (
    Source,
    candidate_modules,
    describe,
    discover_entry,
    discover_logits,
    no_logits,
    returned_logits,
)
from lightning_failures.observe.hooks import Call, CallRecorder, first_tensor
from lightning_failures.observe.layers import PENULTIMATE, Pooling, find_layers, pool, pooling_of
from lightning_failures.observe.logits import find_logits
from lightning_failures.observe.observation import Observation

__all__ = ["Probe"]


class Probe:
    """Finds inputs, targets, logits and features of a LightningModule by itself, or where it is told.

    Logits come from what the step returns under a usual name, else from a forward hook on the classifier head, which is
    discovered on the first batch; the head's input is the penultimate layer. What was found is said once in the log.
    Several monitors may share one probe.

    Args:
        inputs: path or callable into the batch; None: found by name and shape.
        targets: path or callable into the batch, or into a dict that the step returns; None: found.
        logits: name of the submodule that gives them, or a field of what the step returns, or a callable that takes it;
            None: found.
        layers: names and globs of submodules whose outputs are kept as features, see
            :func:`.find_layers`; None: the input of the classifier head.
        where: the public name to put into an error.
    """

    def __init__(
        self,
        *,
        inputs: Field | None = None,
        targets: Field | None = None,
        logits: Field | None = None,
        layers: str | Sequence[str] | None = None,
        where: str = "Probe",
    ) -> None:
        self.inputs, self.targets, self.logits = inputs, targets, logits
        self.layers: tuple[str, ...] = ()
        self._where = self._layers_where = where
        self.listen_also(layers or (), where)
        self.entry: str | None = None
        self.found: str = ""
        self.classes: int | None = None
        self._source: Source | None = None
        self._called: tuple[str, ...] = ()  # by the first batch's step
        self._modules: dict[str, nn.Module] = {}
        self._named: dict[str, bool] = {}
        self._maps = False
        self._poolings: dict[str, Pooling] = {}
        self._recorder: CallRecorder | None = None
        self._users: set[int] = set()
        self._seen: tuple[Any, Observation] | None = None

    # -- life of the hooks

    def attach(self, module: nn.Module, user: object) -> None:
        """Begin to listen; hooks stay on until the last user calls :meth:`detach`."""
        self._users.add(id(user))
        if self._recorder is None:
            self._modules = self._listen_to(module)
            self._recorder = CallRecorder(self._modules)

    def detach(self, user: object) -> None:
        """Stop listening; every hook comes off when nobody listens any more."""
        self._users.discard(id(user))
        if not self._users:
            self._remove()

    @property
    def discovered(self) -> bool:
        """Whether a batch has been seen and the sources of logits and features are settled."""
        return bool(self.found)

    @property
    def heard(self) -> bool:
        """Whether the last step called a layer that carries a hook, or none does that it could call."""
        calls = self._recorder.calls if self._recorder is not None else []
        return self._seen is not None or not self._modules or bool(calls)

    def new_batch(self) -> None:
        """Forget the calls of the last step."""
        self._seen = None
        if self._recorder is not None:
            self._recorder.calls.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing inside: for forward passes of our own."""
        if self._recorder is None:
            yield
        else:
            with self._recorder.paused():
                yield

    # -- one batch

    def observe(self, module: nn.Module, outputs: Any, batch: Any) -> Observation:
        """What the step that just ended showed.

        Args:
            module: the user's LightningModule.
            outputs: what its step returned.
            batch: the batch, as the step got it.
        """
        if self._seen is not None and self._seen[0] is batch:
            return self._seen[1]
        observation = self._read(module, outputs, batch)
        self._seen = (batch, observation)
        return observation

    def observe_features(self, batch: Any) -> Observation:
        """Inputs, targets and features of a step whose logits do not matter, once the sources are settled."""
        if self._seen is not None and self._seen[0] is batch:
            return self._seen[1]
        seen, calls = self.read_batch(batch), self._recorder.calls if self._recorder is not None else []
        if seen.empty:
            return seen
        features = self._read_features(calls, seen.images or _images_of(calls))
        return replace(seen, features=features)

    def read_batch(self, batch: Any) -> Observation:
        """Inputs and targets only, without any forward pass having been listened to."""
        inputs, path = self._read_inputs(batch)
        images = len(inputs) if inputs is not None else 0
        return Observation(batch, inputs=inputs, targets=self._read_targets(None, batch, images, path)[0])

    def _read(self, module: nn.Module, outputs: Any, batch: Any) -> Observation:
        calls = self._recorder.calls if self._recorder is not None else []
        inputs, input_path = self._read_inputs(batch)
        images = len(inputs) if inputs is not None else _images_of(calls)
        targets, target_path = self._read_targets(outputs, batch, images, input_path)
        if inputs is not None and not images:  # no rows, and nothing to discover anything by
            return Observation(batch, inputs, targets)
        first = not self.discovered
        if first:
            self._called = tuple(dict.fromkeys(call.name for call in calls))
            self._source = self._find_logits(outputs, calls, images)
            self._settle_layers(calls, images)
        logits = self._read_logits(outputs, calls)
        if first:
            self._maps = logits is not None and logits.ndim == 4 and targets is not None and targets.ndim == 3
        self._check_lengths(targets, logits)
        observation = Observation(
            batch, inputs, targets, None if logits is None else logits.float(), self._read_features(calls, images)
        )
        if first:
            if inputs is not None and logits is not None:
                self.entry = discover_entry(calls, inputs, logits)
            self.classes = None if logits is None else logits.shape[1]
            self.found = describe(observation, self._source, input_path, target_path)
            rank_zero_info(self.found)  # where Lightning says what it found, too
            self._relisten(module)
        return observation

    # -- inputs and targets

    def _read_inputs(self, batch: Any) -> tuple[Tensor | None, Any]:
        path = self.inputs if self.inputs is not None else discover_inputs(batch)
        value = None if path is None else read_field(batch, path, f"{self._where}(inputs=...)")
        return first_tensor(value), path

    def _read_targets(self, outputs: Any, batch: Any, images: int, inputs: Any) -> tuple[Tensor | None, Any]:
        if self.targets is None:
            path = discover_targets(batch, images, inputs)
            return (None, None) if path is None else (read_field(batch, path).detach().long(), path)
        try:
            value = read_field(batch, self.targets, f"{self._where}(targets=...)")
        except UnknownNameError:
            if not isinstance(outputs, Mapping) or self.targets not in outputs:
                raise
            value = outputs[self.targets]
        return labels_of(value, f"{self._where}(targets=...)").detach(), self.targets

    def _check_lengths(self, targets: Tensor | None, logits: Tensor | None) -> None:
        if targets is not None and logits is not None and len(targets) != len(logits):
            raise InputError(
                self._where,
                "targets and logits differ in length",
                f"targets {tuple(targets.shape)}, logits {tuple(logits.shape)}",
                "Name the fields that belong together: targets='label', logits='net.head'.",
            )

    # -- logits and features

    def _find_logits(self, outputs: Any, calls: Sequence[Call], images: int) -> Source | None:
        if callable(self.logits):
            return Source(field=self.logits)
        if self.logits is not None:
            return Source(layer=str(self.logits)) if self.logits in self._modules else Source(field=self.logits)
        source = returned_logits(outputs, images) or discover_logits(calls, self._modules, images)
        views = sum(call.name == source.layer for call in calls) if source is not None else 0
        # with layers named, a last linear layer that is called on several views is a projector, and no classifier
        return None if self.layers and views > 1 else source

    def _read_logits(self, outputs: Any, calls: Sequence[Call]) -> Tensor | None:
        if self._source is None:
            return None
        if self._source.layer is None:
            found = find_logits(read_field(outputs, self._source.field, f"{self._where}(logits=...)"))
            return None if found is None else found.detach()
        return self._only_call(self._source.layer, calls).logits

    def _read_features(self, calls: Sequence[Call], images: int) -> dict[str, Tensor]:
        features = {name: self._views(name, calls, images) for name in self._named if name != PENULTIMATE}
        head = self._head(calls) if not self.layers or PENULTIMATE in self._named else None
        if head is not None and head.input is not None:
            how: Pooling = "none" if self._maps else "mean"
            features[PENULTIMATE] = pool(head.input, images, PENULTIMATE, how, self._where)
        return features

    def _views(self, name: str, calls: Sequence[Call], images: int) -> Tensor:
        """Rows of a layer; those of its second call in the step, on another view, come after those of the first."""
        outputs = [call.output for call in calls if call.name == name and call.output is not None]
        if not outputs:
            raise self._not_called_once(name, calls, self._layers_where)
        how: Pooling = "none" if self._maps and self._poolings[name] == "mean" else self._poolings[name]
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

    def _head(self, calls: Sequence[Call]) -> Call | None:
        """The call of the classifier head, also where the step returned the logits itself."""
        if self._source is not None and self._source.layer is not None:
            return self._only_call(self._source.layer, calls)
        images = next((len(call.output) for call in calls if call.output is not None and call.output.ndim), 0)
        head = discover_logits(calls, self._modules, images)
        return None if head is None or head.layer is None else self._only_call(head.layer, calls)

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

    def _listen_to(self, module: nn.Module) -> dict[str, nn.Module]:
        modules = candidate_modules(module)
        if not self.discovered:
            self._named = find_layers(modules, self.layers, f"{self._layers_where}(layers=...)")
            self._poolings = {name: pooling_of({"": module, **modules}, name) for name in self._named}
            return modules
        wanted = {*self._named, *([self._source.layer] if self._source and self._source.layer else [])}
        if self._source is not None and self._source.layer is None:
            wanted |= set(self._heads)
        return {name: child for name, child in modules.items() if name in wanted}

    _heads: tuple[str, ...] = ()

    def _relisten(self, module: nn.Module) -> None:
        """From the second batch on, only the layers that are needed carry a hook."""
        penultimate = not self.layers or PENULTIMATE in self._named
        if penultimate and self._source is not None and self._source.layer is None and self._recorder is not None:
            head = self._head(self._recorder.calls)
            self._heads = () if head is None else (head.name,)
        if self._recorder is not None:
            self._recorder.remove()
            self._modules = self._listen_to(module)
            self._recorder = CallRecorder(self._modules)

    def _remove(self) -> None:
        self._seen = None
        if self._recorder is not None:
            self._recorder.remove()
            self._recorder = None

    def require_logits(self, seen: Observation, where: str) -> Tensor:
        """The logits of a batch, or the error that says what to name."""
        if seen.logits is None:
            raise self.no_logits(where)
        return seen.logits

    def no_logits(self, where: str) -> DiscoveryError:
        """The error for a module in which no logits were found."""
        return no_logits(where, self._called)

    def listen_also(self, layers: str | Sequence[str], where: str) -> None:
        """Keep the outputs of further submodules as features.

        Args:
            layers: their names and globs.
            where: the public name of who asks for them, to put into an error.
        """
        self._layers_where = where
        layers = (layers,) if isinstance(layers, str) else layers
        self.layers = tuple(dict.fromkeys((*self.layers, *layers)))

    @property
    def head(self) -> str | None:
        """Name of the classifier head, whose input is the penultimate layer, where one was found."""
        return (self._source.layer if self._source else None) or next(iter(self._heads), None)


def _images_of(calls: Sequence[Call]) -> int:
    return next((len(call.input) for call in calls if call.input is not None and call.input.ndim), 0)
