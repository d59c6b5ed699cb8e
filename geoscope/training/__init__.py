"""Training: windows of storms, recipes, and the tasks that `geoscope train` runs."""
