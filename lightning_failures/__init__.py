"""Says when, how and why a vision model fails, while it trains.

Callbacks attach to any existing :class:`lightning.Trainer`; the metrics and the functions below them work on their own.
Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES: dict[str, tuple[str, ...]] = {
    "callbacks.gate.checkpoint": ("GatedCheckpoint",),
    "callbacks.channels.monitor": ("ChannelAttributionMonitor",),
    "callbacks.collapse.monitor": ("CollapseMonitor",),
    "callbacks.findings.diagnosis": ("FailureDiagnosis",),
    "callbacks.gate.early_stopping": ("GatedEarlyStopping",),
    "callbacks.factors.monitor": ("FactorErrorMonitor",),
    "callbacks.factors.perturbation_monitor": ("PerturbationMonitor",),
    "callbacks.findings.rulebook": ("read_rules",),
    "records.rule": ("Rule",),
    "callbacks.simplicity.monitor": ("SimplicityBiasMonitor",),
    "callbacks.columns": ("standard_rules",),
    "callbacks.suite": ("failure_monitors",),
    "audit.audit": ("audit_data",),
    "data.factor_dataset": ("FactorDataset",),
    "data.imagenet_x": ("load_imagenet_x",),
    "data.indian_pines": ("load_indian_pines",),
    "data.planted": ("planted_scene",),
    "data.factor_table": ("FactorTable",),
    "errors": ("FailuresError", "FailuresWarning"),
    "metrics.adjustment": ("ClassAdjustedErrorRatio",),
    "metrics.calibration": ("FactorCalibration",),
    "metrics.classes": ("WorstClasses",),
    "metrics.collapse": ("FeatureSpectrum",),
    "metrics.dormant_units": ("DormantUnits",),
    "metrics.factors": ("FactorErrorRatio",),
    "metrics.grouped_dimension": ("GroupedDimension",),
    "metrics.interaction": ("FactorInteraction",),
    "metrics.neural_collapse": ("NeuralCollapse",),
    "metrics.paired": ("PairedErrorRatio",),
    "metrics.prediction_collapse": ("PredictionCollapse",),
    "metrics.similarity": ("CrossLayerCKA", "LiDAR", "SubspaceOverlap"),
    "metrics.simplicity": ("DecisionDimension", "ExplainedBySimple", "LinearReference", "UntappedInformation"),
    "metrics.cues": ("CueExplainedVariance", "CueSwap"),
    "metrics.kept": ("FeaturesKept",),
    "metrics.layer_probes": ("LayerProbes",),
    "metrics.retention": ("Retention",),
    "metrics.trend": ("FactorTrend",),
    "attribution.attribution": ("attribute_channels",),
    "interventions.interventions": ("interchange",),
    "observe.probe": ("Probe",),
    "records.finding": ("Finding",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lightning_failures' has no attribute {name!r}")
    value = getattr(import_module(f"lightning_failures.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
