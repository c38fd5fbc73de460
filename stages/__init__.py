"""One file per DVC stage: load params, call the library, save metrics."""
