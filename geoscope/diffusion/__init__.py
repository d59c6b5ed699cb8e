"""Diffusion without a network: schedules, the noising process, losses, samplers and guidance, as plain functions."""
