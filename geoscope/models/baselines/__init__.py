"""Forecasts that need no weights: what a learned model has to beat."""
