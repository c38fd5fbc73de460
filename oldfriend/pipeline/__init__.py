"""dvc.yaml as a graph of stages, and what it takes to run them one by one, here or elsewhere."""
