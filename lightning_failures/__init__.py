"""Says when, how and why a vision model fails, while it trains.

Callbacks attach to any existing :class:`lightning.Trainer`; the metrics and the functions below them work on their own.
Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_failures.version import __version__ as __version__

# The public names twice: where they are at run time, and what type checkers see; a test holds them together.
_HOMES: dict[str, tuple[str, ...]] = {
    "attribution.attribution": ("attribute_channels",),
    "audit.audit": ("audit_data",),
    "callbacks.budget": ("Budget",),
    "callbacks.causes.monitor": ("CauseMonitor",),
    "callbacks.channels.monitor": ("ChannelAttributionMonitor",),
    "callbacks.collapse.monitor": ("CollapseMonitor",),
    "callbacks.columns": ("standard_rules",),
    "callbacks.data.label_noise": ("LabelNoiseMonitor",),
    "callbacks.data.monitor": ("DataMonitor",),
    "callbacks.factors.monitor": ("FactorErrorMonitor",),
    "callbacks.factors.perturbation_monitor": ("PerturbationMonitor",),
    "callbacks.findings.diagnosis": ("FailureDiagnosis",),
    "callbacks.findings.rulebook": ("read_rules",),
    "callbacks.gate.checkpoint": ("GatedCheckpoint",),
    "callbacks.gate.early_stopping": ("GatedEarlyStopping",),
    "callbacks.groups.monitor": ("GroupErrorMonitor",),
    "callbacks.images.monitor": ("FailingImagesMonitor",),
    "callbacks.properties.monitor": ("PropertyErrorMonitor",),
    "callbacks.replay.run": ("replay",),
    "callbacks.simplicity.monitor": ("SimplicityBiasMonitor",),
    "callbacks.slices.monitor": ("SliceMonitor",),
    "callbacks.suite": ("failure_monitors",),
    "callbacks.training.monitor": ("TrainingMonitor",),
    "callbacks.watch.hugging_face": ("HuggingFaceWatch",),
    "callbacks.watch.watch": ("Watch",),
    "data.factor_dataset": ("FactorDataset",),
    "data.factor_table": ("FactorTable",),
    "data.imagenet_x": ("load_imagenet_x",),
    "data.indian_pines": ("load_indian_pines",),
    "data.planted": ("planted_scene",),
    "data.polymers": ("load_polymer_spectra",),
    "errors": ("FailuresError", "FailuresWarning"),
    "functional.slices": ("find_slices",),
    "interventions.interventions": ("interchange",),
    "interventions.transplants": ("transplant",),
    "metrics.adjustment": ("ClassAdjustedErrorRatio",),
    "metrics.calibration": ("FactorCalibration",),
    "metrics.classes": ("WorstClasses",),
    "metrics.collapse": ("FeatureSpectrum",),
    "metrics.cues": ("CueExplainedVariance", "CueSwap"),
    "metrics.dormant_units": ("DormantUnits",),
    "metrics.factors": ("FactorErrorRatio",),
    "metrics.mean_errors": ("FactorMeanError",),
    "metrics.generalisation": ("GeneralisationGap",),
    "metrics.grouped_dimension": ("GroupedDimension",),
    "metrics.interaction": ("FactorInteraction",),
    "metrics.kept": ("FeaturesKept",),
    "metrics.label_matching": ("LabelMatching",),
    "metrics.labels": ("LabelErrors",),
    "metrics.layer_probes": ("LayerProbes",),
    "metrics.mending": ("MendedAccuracy",),
    "metrics.neural_collapse": ("NeuralCollapse",),
    "metrics.paired": ("PairedErrorRatio",),
    "metrics.prediction_collapse": ("PredictionCollapse",),
    "metrics.retention": ("Retention",),
    "metrics.similarity": ("CrossLayerCKA", "LiDAR", "SubspaceOverlap"),
    "metrics.simplicity": ("DecisionDimension", "ExplainedBySimple", "LinearReference", "UntappedInformation"),
    "metrics.transplants": ("TransplantShares",),
    "metrics.trend": ("FactorTrend",),
    "observe.probe": ("Probe",),
    "records.finding": ("Finding",),
    "records.rule": ("Rule",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from lightning_failures.attribution.attribution import attribute_channels as attribute_channels
    from lightning_failures.audit.audit import audit_data as audit_data
    from lightning_failures.callbacks.budget import Budget as Budget
    from lightning_failures.callbacks.causes.monitor import CauseMonitor as CauseMonitor
    from lightning_failures.callbacks.channels.monitor import ChannelAttributionMonitor as ChannelAttributionMonitor
    from lightning_failures.callbacks.collapse.monitor import CollapseMonitor as CollapseMonitor
    from lightning_failures.callbacks.columns import standard_rules as standard_rules
    from lightning_failures.callbacks.data.label_noise import LabelNoiseMonitor as LabelNoiseMonitor
    from lightning_failures.callbacks.data.monitor import DataMonitor as DataMonitor
    from lightning_failures.callbacks.factors.monitor import FactorErrorMonitor as FactorErrorMonitor
    from lightning_failures.callbacks.factors.perturbation_monitor import PerturbationMonitor as PerturbationMonitor
    from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis as FailureDiagnosis
    from lightning_failures.callbacks.findings.rulebook import read_rules as read_rules
    from lightning_failures.callbacks.gate.checkpoint import GatedCheckpoint as GatedCheckpoint
    from lightning_failures.callbacks.gate.early_stopping import GatedEarlyStopping as GatedEarlyStopping
    from lightning_failures.callbacks.groups.monitor import GroupErrorMonitor as GroupErrorMonitor
    from lightning_failures.callbacks.images.monitor import FailingImagesMonitor as FailingImagesMonitor
    from lightning_failures.callbacks.properties.monitor import PropertyErrorMonitor as PropertyErrorMonitor
    from lightning_failures.callbacks.replay.run import replay as replay
    from lightning_failures.callbacks.simplicity.monitor import SimplicityBiasMonitor as SimplicityBiasMonitor
    from lightning_failures.callbacks.slices.monitor import SliceMonitor as SliceMonitor
    from lightning_failures.callbacks.suite import failure_monitors as failure_monitors
    from lightning_failures.callbacks.training.monitor import TrainingMonitor as TrainingMonitor
    from lightning_failures.callbacks.watch.hugging_face import HuggingFaceWatch as HuggingFaceWatch
    from lightning_failures.callbacks.watch.watch import Watch as Watch
    from lightning_failures.data.factor_dataset import FactorDataset as FactorDataset
    from lightning_failures.data.factor_table import FactorTable as FactorTable
    from lightning_failures.data.imagenet_x import load_imagenet_x as load_imagenet_x
    from lightning_failures.data.indian_pines import load_indian_pines as load_indian_pines
    from lightning_failures.data.planted import planted_scene as planted_scene
    from lightning_failures.data.polymers import load_polymer_spectra as load_polymer_spectra
    from lightning_failures.errors import FailuresError as FailuresError
    from lightning_failures.errors import FailuresWarning as FailuresWarning
    from lightning_failures.functional.slices import find_slices as find_slices
    from lightning_failures.interventions.interventions import interchange as interchange
    from lightning_failures.interventions.transplants import transplant as transplant
    from lightning_failures.metrics.adjustment import ClassAdjustedErrorRatio as ClassAdjustedErrorRatio
    from lightning_failures.metrics.calibration import FactorCalibration as FactorCalibration
    from lightning_failures.metrics.classes import WorstClasses as WorstClasses
    from lightning_failures.metrics.collapse import FeatureSpectrum as FeatureSpectrum
    from lightning_failures.metrics.cues import CueExplainedVariance as CueExplainedVariance
    from lightning_failures.metrics.cues import CueSwap as CueSwap
    from lightning_failures.metrics.dormant_units import DormantUnits as DormantUnits
    from lightning_failures.metrics.factors import FactorErrorRatio as FactorErrorRatio
    from lightning_failures.metrics.generalisation import GeneralisationGap as GeneralisationGap
    from lightning_failures.metrics.grouped_dimension import GroupedDimension as GroupedDimension
    from lightning_failures.metrics.interaction import FactorInteraction as FactorInteraction
    from lightning_failures.metrics.kept import FeaturesKept as FeaturesKept
    from lightning_failures.metrics.label_matching import LabelMatching as LabelMatching
    from lightning_failures.metrics.labels import LabelErrors as LabelErrors
    from lightning_failures.metrics.layer_probes import LayerProbes as LayerProbes
    from lightning_failures.metrics.mean_errors import FactorMeanError as FactorMeanError
    from lightning_failures.metrics.mending import MendedAccuracy as MendedAccuracy
    from lightning_failures.metrics.neural_collapse import NeuralCollapse as NeuralCollapse
    from lightning_failures.metrics.paired import PairedErrorRatio as PairedErrorRatio
    from lightning_failures.metrics.prediction_collapse import PredictionCollapse as PredictionCollapse
    from lightning_failures.metrics.retention import Retention as Retention
    from lightning_failures.metrics.similarity import CrossLayerCKA as CrossLayerCKA
    from lightning_failures.metrics.similarity import LiDAR as LiDAR
    from lightning_failures.metrics.similarity import SubspaceOverlap as SubspaceOverlap
    from lightning_failures.metrics.simplicity import DecisionDimension as DecisionDimension
    from lightning_failures.metrics.simplicity import ExplainedBySimple as ExplainedBySimple
    from lightning_failures.metrics.simplicity import LinearReference as LinearReference
    from lightning_failures.metrics.simplicity import UntappedInformation as UntappedInformation
    from lightning_failures.metrics.transplants import TransplantShares as TransplantShares
    from lightning_failures.metrics.trend import FactorTrend as FactorTrend
    from lightning_failures.observe.probe import Probe as Probe
    from lightning_failures.records.finding import Finding as Finding
    from lightning_failures.records.rule import Rule as Rule
else:  # not for type checkers, to which every name that does not exist would be Any

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            said = f"module 'lightning_failures' has no attribute {name!r}"
            raise AttributeError(said, name=name, obj=sys.modules[__name__])  # Python then asks: did you mean ...?
        value = getattr(import_module(f"lightning_failures.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
