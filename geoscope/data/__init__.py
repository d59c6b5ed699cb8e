"""Where fields come from: readers of radar files, shipped samples, simulated storms, downloads."""
