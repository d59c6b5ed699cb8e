"""Earthformer (Gao et al. 2022): a space-time transformer built of cuboid attention."""
