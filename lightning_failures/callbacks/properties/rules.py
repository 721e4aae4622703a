"""From where on images of a property are a failure; each threshold has its source or its measurement beside it."""

from lightning_failures.records.kind import FACTOR_FAILURE
from lightning_failures.records.rule import STEPS_TO_LEARN, Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        kind=FACTOR_FAILURE,
        name="property_failure",
        when=[
            "failures/properties/difference_low/* > 0.02",
            "failures/properties/cmh_p_value/* < 0.01",
            "failures/properties/images/* >= 10",
        ],
        clear=["failures/properties/difference_low/* <= 0"],
        plain_when=["failures/properties/difference_low/* > 0.2", "failures/properties/cmh_p_value/* < 0.0001"],
        last_when=["failures/properties/cmh_p_value/* < 0.00001"],
        severity="watch",
        severe_when={
            "warning": ["failures/properties/difference_low/* > 0.05"],
            "failure": ["failures/properties/difference_low/* > 0.2"],
        },
        evidence={
            "error": "failures/properties/error/*",
            "difference": "failures/properties/difference/*",
            "low": "failures/properties/difference_low/*",
            "high": "failures/properties/difference_high/*",
            "p_value": "failures/properties/cmh_p_value/*",
            "images": "failures/properties/images/*",
            "edge": "failures/properties/edge/*",
        },
        message=(
            "Wrong on {error:share} {images:.0f} images that count as '{subject}': {difference:.0%} more are wrong "
            "than of other images of the same classes (95% interval {low:.0%} to {high:.0%}). What counts as "
            "'{subject}' was fixed on the training images, of which a tenth does (edge at {edge:.3g}, see "
            "PropertyErrorMonitor)."
        ),
        advice=(
            "Look at these images. Train on more of them, or change this property of training images at random: "
            "brightness and contrast (ColorJitter), sharpness (GaussianBlur), noise, colour, the size of the object "
            "(RandomResizedCrop). Of spectra look first for another preparation, baseline or detector."
        ),
        warmup=2,
        warmup_steps=STEPS_TO_LEARN,
        persistence=3,
        source=(
            "a difference beyond chance within the classes is worth watching from one image in fifty, as for factors, "
            "a warning from one in twenty, a failure from one in five; set on seeds 1 to 3 of runs in which a tenth of "
            "the validation images is dark or blurred, with healthy runs beside them. The last evaluation is enough "
            "where chance gives such a difference once in 100,000: set on seeds 1 to 8 (docs/property-failures.md)"
        ),
    ),
)
