"""Benchmarks against peers; needs `pip install -e '.[bench]'`."""
