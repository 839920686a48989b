"""The built-in executor: `local`, on one machine."""
