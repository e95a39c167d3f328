"""Retraining runs: what was asked for, the trainings of all folds, and their scores."""
