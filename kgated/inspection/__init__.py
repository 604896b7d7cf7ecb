"""Inspect a recurrent model: gates and states over time, gradient flow, and plots of both."""

from kgated.inspection.gradients import gradient_flow
from kgated.inspection.plots import plot_gates, plot_gradient_flow
from kgated.inspection.tracing import gate_activations

__all__ = ["gate_activations", "gradient_flow", "plot_gates", "plot_gradient_flow"]
