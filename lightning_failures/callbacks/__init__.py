"""Lightning callbacks that feed the metrics and log what they say."""
