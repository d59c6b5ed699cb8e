"""Samplers: from a noisy state through falling levels to a clean one, as plain functions that know no network."""
