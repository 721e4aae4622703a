"""What the command line runs: one module a command, with a function of the same name."""
