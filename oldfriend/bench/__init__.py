"""Public benchmarks, one file each: they read the data, run the library, and return metrics."""
