"""The files that ship with geoscope, and the scripts that made them."""
