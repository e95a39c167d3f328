"""Optical flow between two frames, its strain, and the flow map of both."""

from nas_mer.data.flow.maps import StrainForm, assemble, flow_map, strain
from nas_mer.data.flow.methods import METHODS, Floats, Frame, optical_flow, optical_flows

__all__ = [
    "METHODS",
    "Floats",
    "Frame",
    "StrainForm",
    "assemble",
    "flow_map",
    "optical_flow",
    "optical_flows",
    "strain",
]
