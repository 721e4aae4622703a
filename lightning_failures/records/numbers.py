"""Figures in words, for people: numbers and p-values."""

import math

__all__ = ["number", "p_value", "share"]


def number(value: float | int | str | None) -> str:
    """A figure for people: three significant digits, whole numbers whole, ``undefined`` for nan and None.

    Example:
        >>> number(0.52), number(2104), number(15234.6), number(float("nan"))
        ('0.52', '2,104', '15,235', 'undefined')
    """
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def p_value(value: float) -> str:
    """A p-value for people.

    Example:
        >>> p_value(1e-9), p_value(0.0421)
        ('< 0.001', '0.042')
    """
    return "undefined" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.2g}"


def share(value: float) -> str:
    """A share for people, as it stands before what it is a share of; never rounded to all or to none.

    Example:
        >>> f"{share(1.0)} 490 images", f"{share(0.62)} 130 images", f"{share(0.999)} them", f"{share(0.0)} them"
        ('all 490 images', '62% of 130 images', 'over 99% of them', 'none of them')
    """
    if value >= 1 or value <= 0:
        return "all" if value >= 1 else "none of"
    percent = f"{value:.0%}"
    return {"0%": "under 1%", "100%": "over 99%"}.get(percent, percent) + " of"
