"""Scenarios of rain: a latent diffusion of what the nowcaster leaves open, under control of one number."""
