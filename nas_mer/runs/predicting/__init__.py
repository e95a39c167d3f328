"""What the trained networks of a retraining run say of a clip, and what they look at."""

from nas_mer.runs.predicting.cases import Case, find_case
from nas_mer.runs.predicting.networks import TrainedNetwork, graph_reader, network_of, trained_network, trained_networks
from nas_mer.runs.predicting.pictures import activation_figure, chosen_samples, draw_activation, draw_prediction
from nas_mer.runs.predicting.prediction import Prediction, predict

__all__ = [
    "Case",
    "Prediction",
    "TrainedNetwork",
    "activation_figure",
    "chosen_samples",
    "draw_activation",
    "draw_prediction",
    "find_case",
    "graph_reader",
    "network_of",
    "predict",
    "trained_network",
    "trained_networks",
]
