"""Factor tables and data sets."""
