"""Are two runs of the book the same to the printed digit? ``python -m tests.determinism``."""
